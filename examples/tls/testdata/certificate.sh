# Makes tls.crt and tls.key in a new directory, signed by ca.crt, which the first
# call makes, and prints the serial number.
set -e
key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
[ -e ca.crt ] || openssl req -x509 $key -subj /CN=authority -keyout ca.key -out ca.crt
mkdir "$1"
openssl req $key -subj "/CN=$1" -addext subjectAltName=DNS:app.example.com -keyout "$1/tls.key" |
	openssl x509 -req -CA ca.crt -CAkey ca.key -copy_extensions=copy -out "$1/tls.crt"
openssl x509 -noout -serial -in "$1/tls.crt"
