import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the loop handles it: nothing needs an orderly end yet

from embedded.platform import main

main()
