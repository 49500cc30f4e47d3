#!/bin/sh
# Pushes the images of this package to the site's registry.
set -eu
exec compass install "$(dirname "$0").tar.gz" --registry "$1"
