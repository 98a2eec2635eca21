exec {
  command = ["stablehand", "gunicorn", "--config=config/gunicorn.conf.py", "app:app"]

  # stablehand sees by itself what was rendered. Without this line consul-template
  # would stop it and start it again.
  reload_signal = "SIGNULL"
}

# HUP is for stablehand: a handoff. By default consul-template stops it, and starts
# it again with its own configuration read anew.
reload_signal = ""
