/** The test's side of linking-child.ts: lets a new device into the account of a data directory. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Settings } from '../../node/config.ts'

export interface LinkScreen {
  readonly uri: string
  readonly addresses: readonly string[]
  /** What the screen shows once the new device has knocked. */
  digits(): Promise<string>
  /** The person says whether both show the same; settles with what came of it. */
  answer(isSame: boolean): Promise<'linked' | 'failed'>
}

const childPath = new URL('./linking-child.ts', import.meta.url).pathname

/** Runs the node for as long as `work` takes; nothing else may run on the directory meanwhile. */
export async function withLinkScreen(
  dataDir: string,
  settings: Settings,
  work: (screen: LinkScreen) => Promise<void>,
): Promise<void> {
  const quiet = { listenP2p: ['/ip4/127.0.0.1/tcp/0'], mdns: false, ...settings }
  const child = spawn(process.execPath, [childPath, dataDir, JSON.stringify(quiet)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const closed = once(child, 'close')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<Record<string, string>> => {
    const { value, done } = await lines.next()
    if (done === true) throw new Error('the node that links has ended')
    return JSON.parse(value) as Record<string, string>
  }
  try {
    const { uri, addresses } = await next() as unknown as { uri: string, addresses: string[] }
    await work({
      uri,
      addresses,
      digits: async () => (await next())['digits']!,
      async answer(isSame) {
        child.stdin.write(isSame ? 'same\n' : 'different\n')
        return 'linked' in await next() ? 'linked' : 'failed'
      },
    })
    child.stdin.end()
    await closed
  } finally {
    if (child.exitCode === null) child.kill('SIGKILL')
    await closed
  }
}
