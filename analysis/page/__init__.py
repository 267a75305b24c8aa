"""What a report's page says: findings in sentences, tables, captions, and what could not be done."""
