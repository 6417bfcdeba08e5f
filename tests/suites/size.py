"""The page, built when something changed, is within its limits (tools/size.py); what cannot be built is not measured."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
import size

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
built = subprocess.run(["make", "-s", "web"], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       universal_newlines=True)
if built.returncode != 0:
    print("FAIL build: %s" % " ".join(built.stdout.strip().splitlines()[-5:]))
    sys.exit(1)
for what, bytes_, limit in size.totals():
    name = "%s_weighs_at_most_%d_kb_gzipped" % (what, limit // 1024)
    if bytes_ == 0:
        print("SKIP %s: needs the page: make web" % name)
    elif bytes_ > limit and size.unmeasured(what):
        print("SKIP %s: %s" % (name, size.unmeasured(what)))
    elif bytes_ > limit:
        print("FAIL %s: %d bytes; see tools/size.py --rooms" % (name, bytes_))
    else:
        print("PASS %s" % name)
