template {
  source               = "gunicorn.conf.py.ctmpl"
  destination          = "config/gunicorn.conf.py"
  error_on_missing_key = true
  backup               = false
}

template {
  source               = "settings.json.ctmpl"
  destination          = "config/settings.json"
  error_on_missing_key = true
  backup               = false
}
