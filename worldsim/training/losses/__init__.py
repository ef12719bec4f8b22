"""What the world model's loss is made of, one file a part; `worldsim.training.loss` reads them."""
