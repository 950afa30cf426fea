#!/usr/bin/env bash
# Build a Kubernetes API server of Debian's sources into the folder $1, with its etcd, as root on Debian 12 (make k8s-server).
#
# Debian has no package of it: bookworm's source of kubectl is the last that holds the server, too, 1.20.2. It is built
# with bookworm's Go 1.19, which its reflect2 does not know: Debian's own, newer one takes its place. Nothing is installed.
set -euo pipefail
mkdir -p "$1"
cd "$1"
target=$PWD
# Anew each time: what an earlier, interrupted run left could be mixed with newer packages.
folder=$target/build
rm -rf "$folder"
mkdir -p "$folder"/{apt/lists/partial,apt/cache/archives/partial,debs}
cd "$folder"
key=/usr/share/keyrings/debian-archive-keyring.gpg
for kind in deb deb-src; do echo "$kind [signed-by=$key] http://deb.debian.org/debian bookworm main"; done > apt/sources.list
cat > apt/apt.conf << EOF
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$folder/apt/lists";
Dir::Cache "$folder/apt/cache";
APT::Sandbox::User "root";
EOF
export APT_CONFIG=$folder/apt/apt.conf
apt-get -qq update
cd debs
apt-get -qq download golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev etcd-server
apt-get -qq source --download-only kubernetes
for deb in *.deb; do dpkg -x "$deb" "$folder/root"; done

export GOROOT=$folder/root/usr/lib/go-1.19 GOPATH=$folder/go GOCACHE=$folder/cache
export PATH=$GOROOT/bin:$PATH GO111MODULE=off CGO_ENABLED=0 GOPROXY=off GOFLAGS=
source=$GOPATH/src/k8s.io/kubernetes
mkdir -p "$source"
tar -xzf kubernetes_*.orig.tar.gz --strip-components=1 -C "$source"
cd "$source"
reflect2=vendor/github.com/modern-go/reflect2
rm "$reflect2"/*.go "$reflect2"/*.s
cp "$folder/root/usr/share/gocode/src/github.com/modern-go/reflect2"/*.{go,s} "$reflect2/"

# The only generated file that the source lacks.
go build -o "$folder/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
packages=$(grep -rl --include='*.go' '+k8s:openapi-gen=' pkg cmd vendor/k8s.io/*/ |
  grep -vE 'vendor/k8s.io/(code-generator|sample-apiserver|kube-openapi|gengo)/|_test.go' |
  xargs -n1 dirname | LC_ALL=C sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd,)
"$folder/openapi-gen" --logtostderr -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
  -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$folder/violations.report"

version=k8s.io/kubernetes/vendor/k8s.io/component-base/version
go build -ldflags "-s -w -X $version.gitMajor=1 -X $version.gitMinor=20 -X $version.gitVersion=v1.20.2" \
  -o "$folder/kube-apiserver" ./cmd/kube-apiserver
# The server last: make takes it for the sign that all is there.
mv "$folder/root/usr/bin/etcd" "$target/etcd"
mv "$folder/kube-apiserver" "$target/kube-apiserver"
cd "$target"
chmod -R u+w "$folder"
rm -rf "$folder"
