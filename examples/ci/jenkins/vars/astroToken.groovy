// A step of a Jenkins shared library, which runs a command with the token in its environment:
//
//   astroToken token: 'vault:secret/astro/prod#token', identity: 'astro-identity', command: 'astro deploy --dags'
//
// `identity` is a credential of the OpenID Connect Provider plugin; astro-token must be on PATH.
def call(Map given) {
    def settings = [command: 'astro deploy --dags'] + given
    withCredentials([string(credentialsId: settings.identity, variable: 'ASTRO_TOKEN_ID_TOKEN')]) {
        withEnv(["ASTRO_TOKEN_REFERENCE=${settings.token}", "ASTRO_TOKEN_COMMAND=${settings.command}"]) {
            // Single quotes, so that the shell expands the variables, and Groovy inserts nothing into the script.
            sh 'astro-token exec "$ASTRO_TOKEN_REFERENCE" -- sh -euc "$ASTRO_TOKEN_COMMAND"'
        }
    }
}
