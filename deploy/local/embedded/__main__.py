import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the loop takes it: nothing is there yet that had to be ended

from embedded.platform import main

main()
