import sys

from embedded.platform import main

sys.exit(main())
