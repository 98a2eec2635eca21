wsgi_app = "mysite.wsgi"
workers = 3
