"""From quotes to the prices that are published."""
