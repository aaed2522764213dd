#!/bin/sh
# SPDX-License-Identifier: MIT
# Rules that the source keeps: include direction, licence lines, no names of machines or hosts.
set -u
cd "$(dirname "$0")/../.."
status=0
report() {
    if [ -z "$2" ]; then
        echo "ok $1"
    else
        echo "$2" | sed 's/^/    /'
        echo "not ok $1"
        status=1
    fi
}
files() { find Makefile README.md include lib examples test bench docs .ci -type f \
    ! -path '*/corpus/*' ! -path '*/__pycache__/*' ! -path 'test/house/check_source.sh' 2>/dev/null; }

# A folder of lib/ may include only itself and folders before it in this list.
order="base quant kernels file token model nn decode"
wrong=
below=
for stage in $order; do
    below="$below $stage"
    allowed=$(echo "$below" | sed 's/^ *//; s/ /|/g')
    wrong="$wrong$(grep -rnE '^#include "[a-z]+/' "lib/$stage" |
        grep -vE "#include \"($allowed)/" | sed 's/$/\n/')"
done
report "each stage includes only stages below it" "$(echo "$wrong" | grep . || true)"
report "the library includes no stdio, assert, setjmp or signal" \
    "$(grep -rnE '#include <(stdio|assert|setjmp|signal|locale)\.h>' lib |
        grep -vE '(stdio\.h> /\* rename|signal\.h> /\* pthread_sigmask) \*/$')"
# The benchmark of the kernels and the peaks it compares them with look inside, as a test does.
report "examples and bench include the public header only" \
    "$(grep -rnE '#include "[a-z]+/' examples bench --include=*.c --include=*.h 2>/dev/null |
        grep -vE '^bench/(programs/(kernels\.c|peak)|gemm/)')"
report "every source file has its licence line" \
    "$(files | grep -E '\.(c|h|py|sh|lua)$|\.ci/run$' | while read -r f; do
        head -3 "$f" | grep -q 'SPDX-License-Identifier: MIT' || echo "$f"; done)"
report "no absolute paths of a build machine" \
    "$(files | xargs grep -nIE '(^|[^a-z.])/(work|root|home|tmp/w)/' )"
report "no host of a registry" \
    "$(files | xargs grep -nIE 'pypi\.org|pythonhosted\.org|deb\.debian\.org|huggingface\.co')"
duplicates=$(find lib test -name '*.c' | xargs -n1 basename | sort | uniq -d)
report "file names are unique in the tree" "$duplicates"
exit $status
