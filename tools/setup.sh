#!/bin/sh
# Makes .venv and installs what is locked, and nothing else: `setup.sh run` for the platform, `setup.sh dev` for tests
# and checks besides; then runs the command that follows. Does nothing where it is done already; what a kill left half
# done is made anew.
set -eu
unset CDPATH
cd "$(dirname "$0")/.."
what=${1:-run}
[ $# -eq 0 ] || shift

refuse() {
    echo "$*" >&2
    exit 1
}

# Root would leave files that bar the checkout's owner, and PostgreSQL without root's privilege cannot enter a private
# home: root goes on as the owner.
owner=$(stat -c %u .)
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    group=$(stat -c %g .)
    home=$(getent passwd "$owner" 2>/dev/null | cut -d: -f6 || true)
    become="setpriv --reuid=$owner --regid=$group --clear-groups"
    $become true 2>/dev/null || refuse "This checkout belongs to user $owner, whom root cannot become here: run it as that user."
    unset XDG_RUNTIME_DIR XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME UV_CACHE_DIR PIP_CACHE_DIR
    # A group given for the checkout's sake reaches no further than its folder.
    HOME=${home:-/} exec $become tools/setup.sh "$what" "$@"
fi

# What the caller's shell says to Python, pip and uv is not meant for this installation; mirrors, proxies and
# certificates are.
unset PYTHONHOME PYTHONPATH PYTHONOPTIMIZE PYTHONSTARTUP PYTHONWARNINGS PYTHONDONTWRITEBYTECODE PYTHONHASHSEED
unset PYTHONINSPECT PYTHONCASEOK PYTHONPLATLIBDIR PYTHONUSERBASE PYTHONNOUSERSITE PYTHONEXECUTABLE PYTHONVERBOSE
unset PYTHONIOENCODING PYTHONUTF8 PYTHONMALLOC PYTHONTRACEMALLOC PYTHONSAFEPATH PYTHONINTMAXSTRDIGITS
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT PIP_REQUIREMENT PIP_DRY_RUN PIP_EDITABLE PIP_PYTHON
unset PIP_PLATFORM PIP_PYTHON_VERSION PIP_IMPLEMENTATION PIP_ABI PIP_ONLY_BINARY PIP_NO_BINARY PIP_NO_DEPS PIP_SRC
unset UV_PYTHON UV_SYSTEM_PYTHON UV_TARGET UV_PREFIX UV_BREAK_SYSTEM_PACKAGES UV_CONSTRAINT UV_OVERRIDE UV_EXCLUDE_NEWER
unset UV_REQUIRE_HASHES UV_NO_VERIFY_HASHES UV_BUILD_CONSTRAINT UV_NO_BUILD UV_NO_BINARY UV_ONLY_BINARY UV_DRY_RUN
unset UV_MANAGED_PYTHON UV_NO_MANAGED_PYTHON UV_PYTHON_PREFERENCE UV_RESOLUTION UV_PRERELEASE UV_WORKING_DIR UV_PROJECT
# Where the locale is one that is not installed, Python does not even start in a folder with an accent.
export LC_ALL=C.UTF-8
umask u=rwx

venv=.venv
said=$venv.said
whole=$venv/whole # there while nothing is half made; says by which interpreter, and where
packages="libs/shared libs/openbadges $(sed 's|^|services/|' services.txt) gateway tools"

made() {
    pwd
    "$venv/bin/python" -VV 2>/dev/null
}
# What is installed is a function of the locks, our package definitions, the interpreter and where the checkout stands.
wanted() {
    {
        made
        cat requirements/bootstrap.txt requirements/run.txt
        [ "$1" = run ] || cat requirements/dev.txt
        for package in $packages; do cat "$package/pyproject.toml"; done
    } | cksum
}
installed() {
    [ -f "$whole" ] && [ -f "$venv/installed-$what" ] && [ "$(cat "$venv/installed-$what")" = "$(wanted "$what")" ]
}
uv() { VIRTUAL_ENV="$PWD/$venv" UV_CONFIG_FILE="$PWD/$venv/uv.toml" quietly "$venv/bin/python" -m uv "$@"; }
# What a tool says is shown where it fails by itself; one that Ctrl-C ends has nothing to say.
quietly() {
    "$@" 2>"$said" || {
        status=$?
        cat "$said" >&2
        return $status
    }
}

make_venv() {
    python=""
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || refuse "Python 3.11 or newer is needed; set PYTHON to where it is."
    rm -rf "$venv"
    quietly "$python" -m venv "$venv" || refuse "$python cannot make a virtual environment; on Debian: apt-get install python3-venv"
    "$venv/bin/python" -m pip --version >/dev/null || refuse "$python makes virtual environments without pip; on Debian: apt-get install python3-venv"
}

must_be_writable() {
    [ ! -d .venv.lock ] || refuse "$PWD/.venv.lock is a folder where a file must be: remove it."
    for kept in . "$venv" .venv.lock "$said"; do
        if [ -e "$kept" ] && ! [ -w "$kept" ]; then
            refuse "$PWD/$kept cannot be written by you; it belongs to user $(stat -c %u "$kept"): run this as that user, or have it given to you (chown -R)."
        fi
    done
}

install() {
    echo "Installing into .venv …"
    if ! [ -f "$whole" ] || [ "$(cat "$whole")" != "$(made)" ]; then make_venv; fi
    rm -f "$whole" "$venv"/installed-*
    # Its configuration files name mirrors, which count, and perhaps another target, which does not.
    quietly "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-user --target= --root=/ --prefix="$PWD/$venv" \
        --require-hashes -r requirements/bootstrap.txt
    "$venv/bin/python" -I tools/mirrors.py >"$venv/uv.toml" || refuse "uv's configuration file cannot be read."
    # The machine's own certificates, as pip uses them: a company's proxy signs with its own.
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
    # A home that cannot be written (a container's user without a name) or is another's has no room for a cache.
    cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/}/.cache}/uv}
    above=$cache
    while [ ! -e "$above" ]; do above=$(dirname "$above"); done
    if [ "$(stat -c %u "$above")" != "$(id -u)" ] || ! mkdir -p "$cache" 2>/dev/null || [ ! -w "$cache" ]; then
        export UV_NO_CACHE=1
    fi
    uv pip install --quiet --require-hashes -r requirements/run.txt
    [ "$what" = run ] || uv pip install --quiet --require-hashes -r requirements/dev.txt
    set --
    for package in $packages; do set -- "$@" -e "$package"; done
    # Ours come from here alone: no index is asked, so no stranger's package of the same name can slip in.
    uv pip install --quiet --no-index --no-deps --no-build-isolation "$@"
    "$venv/bin/python" -I -c "import sys, uv, sqlalchemy, asyncpg, shared, openbadges, gateway, embedded
sys.exit(not uv.__file__.startswith(sys.prefix))" ||
        refuse "What was installed is not in $PWD/$venv: look what the configuration files of pip and uv say."
    rm -f "$said"
    wanted run >"$venv/installed-run"
    [ "$what" = run ] || wanted dev >"$venv/installed-dev"
    made >"$whole"
}

if ! installed; then
    must_be_writable
    trap 'trap - INT; echo "Stopped; the next start installs anew." >&2; kill -INT $$' INT
    # One at a time; the lock ends with this shell, however that ends.
    exec 9>.venv.lock
    if command -v flock >/dev/null && ! flock -n 9; then
        echo "Another start is installing into .venv; waiting for it …"
        flock 9
    fi
    installed || install
    exec 9>&-
    trap - INT
fi
[ $# -eq 0 ] || exec "$@"
