/**
 * The programs of docs/examples as people run them: each is linked by the digits on its terminal to a
 * real node, and then does what its header says. (The page has page.test.ts.)
 */
import * as assert from 'uvu/assert'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { HistoryEntry } from '../../protocol/client/api.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { freePort } from '../helpers/free-port.ts'
import { suite } from '../helpers/harness.ts'
import { withLinkScreen } from '../helpers/linking-node.ts'

const test = suite('interop/examples', { timeoutMs: 120_000 })
const examples = new URL('../../docs/examples/', import.meta.url).pathname
let nodes: CliNode[] = []
let running: Example[] = []

test.after.each(async () => {
  await Promise.all(running.map((example) => example.end('SIGKILL')))
  await Promise.all(nodes.map((node) => node.remove()))
  nodes = []
  running = []
})

/** A program of docs/examples and its terminal. */
class Example {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  #stderr = ''

  constructor(name: string, args: readonly string[]) {
    this.#child = spawn(process.execPath, [join(examples, name), ...args], { stdio: 'pipe' })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => { this.#stderr += text })
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
    running.push(this)
  }

  /** The first line that fits. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done === true) throw new Error(`the example ended without ${pattern}: ${this.#stderr}`)
      const found = pattern.exec(value)
      if (found !== null) return found[0]
    }
  }

  answer(text: string): void {
    this.#child.stdin!.write(`${text}\n`)
  }

  /** Its exit code. */
  async end(signal?: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const { exitCode, signalCode } = this.#child
    let code = exitCode
    if (exitCode === null && signalCode === null) {
      if (signal !== undefined) this.#child.kill(signal)
      ;[code] = await once(this.#child, 'close') as [number | null]
    }
    assert.is(this.#stderr, '')
    return code
  }
}

interface Household {
  readonly alice: CliNode
  readonly bob: CliNode
  startAlice(): Promise<unknown>
}

/** Alice's node links the example; then it runs as people run it, and Bob on another node knows her. */
async function household(start: (uri: string) => Example): Promise<Household> {
  const [alice, bob] = await Promise.all([CliNode.init('alice'), CliNode.init('bob')])
  nodes = [alice, bob]
  const listenTcp = `127.0.0.1:${await freePort()}`
  const listenUdp = `127.0.0.1:${await freePort()}`
  await withLinkScreen(alice.dataDir, { listenTcp, listenUdp }, async (screen) => {
    const example = start(screen.uri)
    const digits = await screen.digits()
    assert.is((await example.line(/\b\d{6}\b/)), digits)
    example.answer('y')
    assert.is(await screen.answer(true), 'linked')
    await example.line(/ready|linked/)
  })
  const startAlice = (): Promise<unknown> =>
    alice.start([], ['--tcp-listen', listenTcp, '--udp-listen', listenUdp])
  await startAlice()
  await bob.start([alice.ready.p2p[0]!])
  const invite = await alice.run(['invite'])
  const added = await bob.run(['add', invite.json['uri'] as string, '--name', 'alice'])
  assert.is(added.code, 0, added.stderr)
  return { alice, bob, startAlice }
}

async function received(node: CliNode, count: number): Promise<HistoryEntry[]> {
  return await eventually(async () => {
    const control = await node.control()
    try {
      const entries = await control.call('history', { direction: 'in', limit: 1_000 })
      return entries.length >= count ? entries : undefined
    } finally {
      control.close()
    }
  }, { withinMs: 60_000, what: `${node.name} has ${count} messages` })
}

async function says(node: CliNode, contact: string, text: string): Promise<void> {
  const sent = await node.run(['send', contact, text, '--wait', 'stored', '--timeout', '60s'])
  assert.is(sent.code, 0, sent.stderr)
}

test('the bot answers once, also what came while it was dead', async () => {
  let bot: Example | undefined
  let data = ''
  const { bob } = await household((uri) => {
    data = join(nodes[0]!.dataDir, '../bot')
    bot = new Example('bot.ts', [data, uri])
    return bot
  })
  await says(bob, 'alice', 'hello')
  assert.equal((await received(bob, 1)).map(({ text }) => text), ['you said: hello'])
  await bot!.end('SIGKILL')
  for (const text of ['one', 'two', 'three']) await says(bob, 'alice', text)
  const again = new Example('bot.ts', [data])
  await again.line(/ready/)
  const answers = (await received(bob, 4)).map(({ text }) => text)
  assert.equal(answers, ['you said: hello', 'you said: one', 'you said: two', 'you said: three'])
  assert.is(await again.end('SIGTERM'), 0)
})

test('the sensor reports over UDP, with the node away in between', async () => {
  let data = ''
  let linking: Example | undefined
  const { alice, bob, startAlice } = await household((uri) => {
    data = join(nodes[0]!.dataDir, '../sensor')
    linking = new Example('sensor.ts', ['--store', data, '--link', uri])
    return linking
  })
  assert.is(await linking!.end(), 0)
  const args = ['--store', data, '--to', 'bob', '--every', '1000', '--times', '6']
  const sensor = new Example('sensor.ts', args)
  await received(bob, 2)
  await alice.kill()
  await startAlice()
  const texts = (await received(bob, 6)).map(({ text }) => text)
  const readings = texts.map((text) => (JSON.parse(text) as { reading: number }).reading)
  assert.equal(readings, [1, 2, 3, 4, 5, 6])
  assert.is(await sensor.end(), 0)
})

test.run()
