"""Language-guided navigation: walks, episodes, their files, and how they are made.

Frame of all of them: z up, metres, radians; a heading of 0 looks along +x, and turns left grow it.
"""
