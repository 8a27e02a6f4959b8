"""Training: many experts in one frozen base, their router, and preferences; all by one loop."""
