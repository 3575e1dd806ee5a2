"""The demo; scripts/demo starts it. See show.py."""

import signal

if __name__ == "__main__":
    # The imports take their time, and until there is something to clean up Ctrl-C may just end this.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from show import main

    main()
