#!/bin/sh
# Makes the certificates of the tests: an authority, and a server for 127.0.0.1 and two names that it signed. Needs openssl.
set -eu
cd "$(dirname "$0")"
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform "$1" -out "$2"; }
key PEM authority.key
openssl req -x509 -new -key authority.key -days 36500 -subj "/CN=authority of tests" -out authority.pem
key PEM server.key
openssl req -new -key server.key -subj "/CN=127.0.0.1" -out server.csr
printf 'subjectAltName=IP:127.0.0.1,DNS:images.example,DNS:*.images.example\nbasicConstraints=CA:FALSE\n' >extensions
openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 36500 -extfile extensions \
    -outform DER -out server.der
openssl pkcs8 -topk8 -nocrypt -in server.key -outform DER -out server.key.der
rm authority.key authority.srl extensions server.csr server.key
