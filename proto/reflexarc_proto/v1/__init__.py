"""The contract, package reflexarc.v1: the .proto files and what protoc generated from them. Must never be edited by hand."""
