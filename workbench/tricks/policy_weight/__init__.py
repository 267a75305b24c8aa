"""How tokens weigh in the policy's loss."""
