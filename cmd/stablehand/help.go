package main

const help = `stablehand is the container's PID 1 for gunicorn. It starts gunicorn, reaps
zombies, forwards signals, and when a watched file changes it hands over to a
new gunicorn without a refused request; a broken change is rolled back.

gunicorn opens its socket itself, and hands over by USR2; or stablehand does
where STABLEHAND_BIND says so, and begins each gunicorn afresh: the socket is
then its own, and so is the environment, as STABLEHAND_ENV_FILE has it.

  stablehand                        gunicorn $STABLEHAND_APP
  stablehand app:app [OPTIONS]      gunicorn app:app [OPTIONS]
  stablehand -w 4 app:app           gunicorn -w 4 app:app
  stablehand COMMAND [WORDS]        that command, as it is; a handoff is
  stablehand -- COMMAND [WORDS]     possible where gunicorn stands among its
                                    words, or STABLEHAND_WATCH or
                                    STABLEHAND_BIND is set; any other command
                                    just gets an init
  stablehand reload                 a handoff: waits, and tells how it ended
  stablehand status                 how things stand; --watch, --json
  stablehand healthcheck            exits with 0 while a generation serves
  stablehand env                    what is set: name, value, default, meaning
  stablehand version
  stablehand help

reload, status and healthcheck ask the stablehand that runs here, and tell more
with --help.

Signals, while gunicorn runs: HUP or USR2 begins a handoff; TERM stops
gracefully, INT and QUIT quickly, after TERM, too; USR1 reopens logs; TTIN and
TTOU give the serving generation one worker more or less. A command that is no
gunicorn by its words, and none of whose processes is one by the time
STABLEHAND_READY_TIMEOUT is over, gets each signal itself.

Exit codes: gunicorn's own, or the command's; 128+n where signal n killed it;
1 where stablehand failed, or could not learn how gunicorn ended; 2 for wrong
words or a wrong environment, 126 for a command that cannot be run, 127 for one
that is not there.
`
