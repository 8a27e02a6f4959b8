"""A person in the loop: `questions` they are asked and how answers are read; `decisions`, what follows."""
