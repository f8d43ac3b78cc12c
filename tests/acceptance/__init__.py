"""The acceptance: programs that build real images of real wheels and judge them by what others say of them."""
