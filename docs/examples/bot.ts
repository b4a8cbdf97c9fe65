/**
 * A bot that answers. It is a device of an account like any other: linked once, then it runs until
 * Ctrl-C, and answers what came meanwhile when it is back.
 *
 * ```sh
 * node docs/examples/bot.ts bot-data 'openim-link:…'     # the first time, beside `openim link`
 * node docs/examples/bot.ts bot-data
 * ```
 */
import { incoming, isLinked, linkDevice, openDevice, openDeviceStore } from 'openim/client/node'
import { askSame } from './ask-same.ts'

/** A new device is told the account's history, too, which nobody waits to have answered. */
const freshMs = 86_400_000

const [directory = 'bot-data', code = ''] = process.argv.slice(2)
const store = await openDeviceStore({ directory })
if (!await isLinked(store.kv)) await linkDevice({ kv: store.kv, code, name: 'bot', compare: askSame })
const client = await openDevice({ kv: store.kv })
process.stdout.write('ready\n')

const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stopping.abort())
for await (const { contact, text, sentAtMs } of incoming(client, { name: 'bot', signal: stopping.signal })) {
  if (sentAtMs > Date.now() - freshMs) await client.send(contact, `you said: ${text}`)
}
await client.stop()
await store.close()
