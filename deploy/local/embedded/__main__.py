from embedded.platform import main

main()
