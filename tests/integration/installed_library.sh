#!/usr/bin/env bash
# Installs into an empty root and builds the example against what lies there, shared and static, in C
# and in C++; checks that nothing but the public names is exported.
set -euo pipefail

build=$1 example=$2
root=$(mktemp -d "${TMPDIR:-/tmp}/paquebot-install.XXXXXX")
trap 'rm -rf "$root"' EXIT

DESTDIR=$root meson install -C "$build" --no-rebuild --quiet
pc=$(find "$root" -name libpaquebot.pc)
[ -n "$pc" ] || { echo "libpaquebot.pc is not installed" >&2; exit 1; }
export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$root
read -ra flags <<<"$(pkg-config --cflags --libs libpaquebot)"
libdir=$(dirname "$(find "$root" -name 'libpaquebot.so' | head -n 1)")
read -ra sanitize <<<"${PQB_TEST_CFLAGS:-}"

cc -std=c17 -Wall -Wextra -Werror "${sanitize[@]}" -o "$root/example" "$example" "${flags[@]}"
LD_LIBRARY_PATH=$libdir "$root/example" 2>"$root/said" && status=0 || status=$?
if [ "$status" != 2 ] || ! grep -q usage "$root/said"; then
    echo "the example does not run" >&2
    exit 1
fi

read -ra flags <<<"$(pkg-config --cflags --libs --static libpaquebot)"
cc -std=c17 -Wall -Wextra -Werror "${sanitize[@]}" -o "$root/example-static" "$example" \
    "${flags[@]/-lpaquebot/-l:libpaquebot.a}"
ldd "$root/example-static" | grep -q paquebot && { echo "not static" >&2; exit 1; }
"$root/example-static" 2>/dev/null && status=0 || status=$?
[ "$status" = 2 ] || { echo "the static example does not run" >&2; exit 1; }

if command -v c++ >/dev/null; then
    echo '#include <paquebot.h>
int main() { return pqb_client_err_name(0) == nullptr; }' |
        c++ -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror "${sanitize[@]}" -fsyntax-only \
            "${flags[0]}" -
fi

header=$(find "$root" -name paquebot.h)
declared=$(grep -oE '\bpqb_client_[a-z0-9_]+\(' "$header" | tr -d '(' | sort -u)
exported=$(nm -D --defined-only "$libdir/libpaquebot.so" | awk '{print $3}' | sort -u)
extra=$(comm -13 <(echo "$declared") <(echo "$exported"))
[ -z "$extra" ] || { echo "exported but not declared: $extra" >&2; exit 1; }
echo "installed library: $(echo "$exported" | wc -l) functions, example builds and runs"
