"""How states weigh in the critic's loss."""
