"""`python -m reflexarc_cli`: the same as the `reflexarc` command."""

from reflexarc_cli.main import main

main()
