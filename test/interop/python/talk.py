def talk(x): pass
