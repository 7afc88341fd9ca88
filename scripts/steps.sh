# What the set-up scripts share; sourced from the root of the checkout. `who` stands before each line they say, `remedy`
# (where it is set) behind a step that failed.

root=$(pwd -P)

say() { printf '%s: %s\n' "$who" "$*" >&2; }
fail() {
    printf '%s: error: %s\n' "$who" "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

# ---- one at a time ------------------------------------------------------------------------------------------------

# Without flock (macOS): a folder is the lock, and the id of its maker tells whether a killed run left it behind.
lock_by_folder() {
    folder=$root/.tools/$who-lock.d
    until mkdir "$folder" 2>/dev/null; do
        owner=$(cat "$folder/pid" 2>/dev/null || true)
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -rf "$folder"
        else
            [ -n "${waiting:-}" ] || say "waiting for another $who (process ${owner:-unknown}) ..."
            waiting=1
            sleep 1
        fi
    done
    echo $$ >"$folder/pid"
    trap 'rm -rf "$folder"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

one_at_a_time() { # until this process ends
    if ! { mkdir -p .tools 2>/dev/null && [ -w .tools ]; }; then
        fail "cannot write to $root" "Try  a checkout in a folder of your own."
    fi
    if command -v flock >/dev/null 2>&1; then
        exec 9>".tools/$who.lock"
        flock -n 9 || { say "waiting for another $who ..."; flock 9; }
    else
        lock_by_folder
    fi
}

# ---- steps with their times ---------------------------------------------------------------------------------------

now() { date +%s.%N | sed 's/\.N$//; s/N$//'; } # BSD date has no %N and prints the letter

timed() { # timed TEXT COMMAND...: runs it quietly; what it said is in .tools/NAME.log
    text=$1
    shift
    began=$(now)
    "$@" >".tools/$who.log" 2>&1 || return 1
    say "$text $(echo "$(now) $began" | awk '{ printf "%.1f s", $1 - $2 }')"
}

step() { # the same; on failure shows what it said, and ends
    timed "$@" || {
        cat ".tools/$who.log" >&2
        text=$1
        shift
        fail "failed: $text" "The command was: $*" ${remedy:+"Try  $remedy"}
    }
}
