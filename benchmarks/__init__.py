"""Speed and memory, one command a question, written as JSON; nothing here is a test."""
