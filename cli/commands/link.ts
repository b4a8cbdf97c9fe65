/**
 * `openim link`: lets a new device into the account. Shows a code for it, waits until it is there,
 * and asks whether both screens show the same; nothing is handed out before that.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { LinkOffer, LinkProgress } from '../../protocol/client/api.ts'
import { parseLinkCode } from '../../protocol/linking/link-code.ts'
import { InputLines } from '../ask.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import type { ControlClient } from '../control-client.ts'
import { escapeText } from '../escape.ts'
import { iso } from '../json-shapes.ts'
import { compareLinkCode, linkFailed, nobodyCompared, showLinkCode } from '../link-talk.ts'
import { showQr } from '../show-qr.ts'
import { formatDuration } from '../units.ts'

export async function run(context: CommandContext): CommandResult {
  const interrupt = context.takeInterrupts()
  await withNode(context, async (node) => {
    const progress = new ProgressQueue()
    await node.follow((event) => {
      if (event.type === 'link') progress.push(event)
    })
    void node.closed.then(() => progress.end())
    interrupt.addEventListener('abort', () => progress.end())
    const offer = await node.call('openLink', {})
    // Of a code before this one: nobody can have seen this one yet.
    progress.clear()
    const lines = new InputLines(context.terminal)
    try {
      await showOffer(context, offer)
      const linked = await letIn(context, { node, progress, lines })
      await tellLinked(context, linked)
    } catch (error) {
      // One that is over must not be closed: by now there may be another, of another command.
      if (!progress.hasSettled) await node.call('closeLink', {}).catch(() => {})
      throw interrupt.aborted ? new OpenIMError('INTERRUPTED', 'interrupted') : error
    } finally {
      lines.close()
    }
  })
}

interface Parts {
  readonly node: ControlClient
  readonly progress: ProgressQueue
  readonly lines: InputLines
}

/** Settles with what the new device calls itself. */
async function letIn(context: CommandContext, { node, progress, lines }: Parts): Promise<string> {
  const knock = await progress.next()
  if (knock.state === 'failed') throw linkFailed(knock.reason)
  if (knock.state === 'linked') return ''
  await showLinkCode(context, knock.code, { device: knock.name })
  const over = new AbortController()
  // When the other side gives up there is nothing left to answer.
  const ended = progress.next().finally(() => over.abort())
  ended.catch(() => {})
  const verdict = await compareLinkCode(context, knock.code, { lines, signal: over.signal })
  if (over.signal.aborted) return settled(await ended, knock.name)
  if (verdict === 'nobody') throw nobodyCompared()
  await node.call('confirmLink', { isSame: verdict === 'same' })
  if (verdict === 'same') context.terminal.say('Waiting for the other side …')
  return settled(await ended, knock.name)
}

function settled(last: LinkProgress, name: string): string {
  if (last.state === 'linked') return name
  throw linkFailed(last.state === 'failed' ? last.reason : 'LINK_MESSAGE')
}

async function showOffer(context: CommandContext, offer: LinkOffer): Promise<void> {
  const { terminal, openim, clock } = context
  const { uri, addresses, expiresAtMs } = offer
  if (terminal.json) {
    await terminal.value({ event: 'code', uri, addresses, expiresAt: iso(expiresAtMs) })
    return
  }
  const code = parseLinkCode(uri)
  const hints = code.ok ? code.value.hints : []
  await showQr(context, uri, ['One device can use this, once.', 'On the new device:', `${openim} join CODE`])
  await terminal.data(uri)
  const more = addresses.filter((address) => !hints.includes(address))
  if (more.length > 0) {
    terminal.say('The node has other addresses, too; on the new device they go behind --node:')
    for (const address of more) terminal.say(`  ${address}`)
  }
  if (addresses.every(isLocal)) {
    terminal.say('! Its doors are open on this machine only. For a device elsewhere stop the node, then:')
    terminal.say(`  ${openim} start --tcp-listen 0.0.0.0:4482    (or listen.tcp in config.toml)`)
  }
  const left = formatDuration(expiresAtMs - clock.now() + 999).split(' ')[0]
  terminal.say(`Waiting for the new device (good for ${left}, Ctrl-C gives up) …`)
}

function isLocal(address: string): boolean {
  return /^[a-z0-9]+:\/\/(127\.|\[::1\]|localhost:)/.test(address)
}

async function tellLinked({ terminal, openim }: CommandContext, name: string): Promise<void> {
  if (terminal.json) {
    await terminal.value({ event: 'linked', device: name })
    return
  }
  terminal.say(`✓ "${escapeText(name)}" is a device of yours now. Earlier messages follow by themselves.`)
  terminal.say(`  All of them: ${openim} devices    Put one out: ${openim} unlink NAME`)
}

/** Progress in order, for one reader; at its end the reader is refused. */
class ProgressQueue {
  #events: LinkProgress[] = []
  #isOver = false
  #hasSettled = false
  #wake: () => void = () => {}

  /** The linking is over, whatever came of it. */
  get hasSettled(): boolean {
    return this.#hasSettled
  }

  push(event: LinkProgress): void {
    this.#events.push(event)
    if (event.state !== 'comparing') this.#hasSettled = true
    this.#wake()
  }

  clear(): void {
    this.#events = []
    this.#hasSettled = false
  }

  end(): void {
    this.#isOver = true
    this.#wake()
  }

  /** @throws NODE_STOPPED at the end */
  async next(): Promise<LinkProgress> {
    while (this.#events.length === 0 && !this.#isOver) {
      await new Promise<void>((resolve) => { this.#wake = resolve })
    }
    const event = this.#events.shift()
    if (event !== undefined) return event
    throw new OpenIMError('NODE_STOPPED', 'the node stopped while we were talking to it')
  }
}
