#!/usr/bin/env bash
# Puts a copy of edge.yaml into a folder, with the certificates that it names in `certs/` beside it: made now, by an
# authority of their own, good for 30 days. For trying things out; take real ones for anything else.
set -euo pipefail
folder=${1:?usage: config/edge-certificates.sh FOLDER}
mkdir -p "$folder/certs"
cp "$(dirname "${BASH_SOURCE[0]}")/edge.yaml" "$folder/"
cd "$folder/certs"
umask 077

# authority NAME: NAME.crt and NAME.key
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
        -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$1.key" -out "$1.crt" 2>/dev/null
}

# issue AUTHORITY NAME DNS: NAME.crt and NAME.key
issue() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$3" -keyout "$2.key" -out "$2.csr" 2>/dev/null
    openssl x509 -req -in "$2.csr" -CA "$1.crt" -CAkey "$1.key" -CAcreateserial -days 30 -out "$2.crt" \
        -extfile <(echo "subjectAltName=DNS:$3") 2>/dev/null
    rm "$2.csr"
}

authority authority
authority clients
issue authority shop shop.example.com
issue authority wildcard "*.api.example.com"
issue authority upstream shop.internal
issue clients ringway ringway
issue clients member member
: >index.txt
echo 01 >number
openssl ca -gencrl -md sha256 -crldays 30 -keyfile clients.key -cert clients.crt -out revoked.crl \
    -config <(printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n') 2>/dev/null
rm -f index.txt* number* ./*.srl
echo "$folder/edge.yaml, with certificates in $folder/certs"
