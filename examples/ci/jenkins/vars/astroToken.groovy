// A step of a Jenkins shared library, which runs a command with the token in its environment:
//
//   astroToken token: 'vault:secret/astro/prod#token', identity: 'astro-identity', command: 'astro deploy --dags'
//
// `identity` is a credential of the OpenID Connect Provider plugin; astro-token must be on PATH. `folder` is that of the
// Astro project. If the command contains `astro deploy`, `check --deploy` runs first, and an error stops the build.
def call(Map given) {
    def settings = [command: 'astro deploy --dags', folder: '.'] + given
    withCredentials([string(credentialsId: settings.identity, variable: 'ASTRO_TOKEN_ID_TOKEN')]) {
        withEnv(["ASTRO_TOKEN_REFERENCE=${settings.token}", "ASTRO_TOKEN_CHILD_COMMAND=${settings.command}"]) {
            // Single quotes, so that the shell expands the variables, and Groovy inserts nothing into the script.
            dir(settings.folder) {
                sh '''
                    set -- sh -euc "$ASTRO_TOKEN_CHILD_COMMAND"
                    # Without shell syntax a deploy is started directly: then exec refuses another deployment than the token's.
                    case "$ASTRO_TOKEN_CHILD_COMMAND" in *[!a-zA-Z0-9_./=:,@+" "-]*) ;; "astro deploy"*) set -- $ASTRO_TOKEN_CHILD_COMMAND ;; esac
                    case "$(printf '%s ' "$ASTRO_TOKEN_CHILD_COMMAND" | tr -s '[:space:]' ' ')" in *"astro deploy"[!a-z]*) astro-token check --deploy "$ASTRO_TOKEN_REFERENCE" ;; esac
                    exec astro-token exec "$ASTRO_TOKEN_REFERENCE" -- "$@"
                '''
            }
        }
    }
}
