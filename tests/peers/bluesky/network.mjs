// Starts the official development network of Bluesky (personal data server, AppView, directory of
// identities, moderation) on free ports of loopback, prints one line of JSON about it and stops when
// standard input ends. DB_POSTGRES_URL and REDIS_HOST name the servers it keeps its data in.
import net from 'node:net'
import { TestNetwork, JWT_SECRET } from '@atproto/dev-env'

// Its servers would listen on every address of the machine, with a moderator's known password.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (place, ...rest) {
  if (typeof place !== 'number') return listen.call(this, place, ...rest)
  const started = rest.filter((one) => typeof one === 'function')
  return listen.call(this, { port: place, host: '127.0.0.1' }, ...started)
}

const network = await TestNetwork.create({
  dbPostgresSchema: 'peer',
  pds: { rateLimitsEnabled: true },
})
process.stdout.write(
  JSON.stringify({
    pds: network.pds.url,
    appview: network.bsky.url,
    secret: JWT_SECRET,
    admin: network.pds.adminAuth(),
  }) + '\n',
)
for await (const _ of process.stdin);
await network.close()
process.exit(0)
