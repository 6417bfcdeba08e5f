"""The page that was built last is within its limits (tools/size.py)."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
import size

for what, bytes_, limit in size.totals():
    name = "%s_weighs_at_most_%d_kb_gzipped" % (what, limit // 1024)
    if bytes_ == 0:
        print("SKIP %s: needs the page: make web" % name)
    elif bytes_ > limit:
        print("FAIL %s: %d bytes; see tools/size.py --rooms" % (name, bytes_))
    else:
        print("PASS %s" % name)
