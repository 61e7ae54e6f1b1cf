#!/bin/sh
# Wheels that a machine with PyTorch and without a network needs, into .whl: Python 3.12, x86-64.
set -e
cd "$(dirname "$0")/../.."
for platform in manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux1_x86_64; do
  platforms="$platforms --platform $platform"
done
mkdir -p .whl
python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp $platforms -d .whl \
  zarr numcodecs donfig google-crc32c pluggy pydantic pydantic-core annotated-types typing-inspection typer shellingham \
  rich scipy vesin
python3 -m pip wheel --quiet --no-deps -w .whl . plugins/densnet-gaunt plugins/densnet-models
ls -l .whl
