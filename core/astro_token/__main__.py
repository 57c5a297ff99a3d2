from astro_token.cli import run

run()
