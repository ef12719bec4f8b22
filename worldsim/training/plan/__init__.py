"""Training plans: noise policy x rollout plan x window selector x objective."""
