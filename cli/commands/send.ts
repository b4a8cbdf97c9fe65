/**
 * `openim send`: writes a message down and says how far it came.
 *
 * Without `--wait` it looks for two seconds and reports what is so: a queued message is no
 * failure, it goes out by itself. With `--wait STATE` a script gets exit 6 when that state is not
 * reached in time; the state it has is printed either way.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { MessageState, MessageStatus } from '../../protocol/client/api.ts'
import { limits } from '../../protocol/limits.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { option, withNode } from '../context.ts'
import { escapeText } from '../escape.ts'
import { stateMs, statusShape } from '../json-shapes.ts'
import { stateText } from '../tables.ts'
import { formatDuration } from '../units.ts'

const glanceMs = 2_000
const patienceMs = 10_000
type Ranks = Readonly<Record<MessageState, number>>
const rank: Ranks = { failed: -1, queued: 0, stored: 1, delivered: 2, read: 3 }

export async function run(context: CommandContext): CommandResult {
  const [contact, given] = context.args as [string, string]
  const text = given === '-' ? await readStdin(context) : given
  const wanted = option(context, 'wait') as MessageState | undefined
  const asked = context.options['timeout'] as number | undefined
  const timeoutMs = asked ?? (wanted === undefined ? glanceMs : patienceMs)
  const state = wanted ?? 'delivered'

  const { status, waitedMs } = await withNode(context, async (node) => {
    const { trust } = await node.call('contact', { contact })
    if (trust === 'changed') throw keyChanged(contact)
    const startedMs = context.clock.monotonicMs()
    let latest = await node.call('send', { contact, text })
    if (rank[latest.state] < rank[state] && latest.state !== 'failed') {
      latest = await node.call('waitFor', { id: latest.id, state, timeoutMs })
    }
    return { status: latest, waitedMs: context.clock.monotonicMs() - startedMs }
  })
  await show(context, status, waitedMs)
  const reached = rank[status.state] >= rank[wanted ?? 'queued']
  if (!reached) throw notReached(status, state, timeoutMs)
}

async function show(context: CommandContext, status: MessageStatus, waitedMs: number): Promise<void> {
  const { terminal } = context
  if (terminal.json) {
    await terminal.value(statusShape(status, waitedMs))
    return
  }
  const arrived = rank[status.state] >= rank.delivered
  const how = arrived ? `  ${status.route}  ${formatDuration(stateMs(status, waitedMs))}` : ''
  const why = status.state === 'queued' || status.state === 'stored'
    ? `  ${escapeText(status.contact)} has not answered; it waits for them and goes on by itself`
    : ''
  terminal.say(`${stateText(status)}${how}${why}`)
}

function notReached(status: MessageStatus, wanted: MessageState, timeoutMs: number): OpenIMError {
  if (status.state === 'failed') {
    return new OpenIMError('WAIT_TIMEOUT', `the message failed (${status.code ?? 'no reason given'})`)
  }
  const limit = formatDuration(timeoutMs)
  return new OpenIMError('WAIT_TIMEOUT', `the message is ${status.state}, not ${wanted}, after ${limit}`)
}

function keyChanged(contact: string): OpenIMError {
  const what = `the key of ${escapeText(contact)} changed: somebody else may have it`
  return new OpenIMError('CONTACT_KEY_CHANGED', what)
}

/** All of stdin as one message, without the line end that every program adds. */
async function readStdin({ terminal }: CommandContext): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of terminal.streams.stdin) {
    bytes += (chunk as Buffer).length
    if (bytes > limits.textBytesMax + 2) throw tooLong(bytes)
    chunks.push(chunk as Buffer)
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch (cause) {
    throw new OpenIMError('USAGE_ARGUMENT', 'stdin is not UTF-8 text', { cause })
  }
  const trimmed = text.replace(/\r?\n$/, '')
  if (trimmed === '') throw new OpenIMError('USAGE_ARGUMENT', 'there is nothing on stdin to send')
  return trimmed
}

function tooLong(bytes: number): OpenIMError {
  const limit = limits.textBytesMax
  return new OpenIMError('TEXT_TOO_LONG', `a message has at most ${limit} bytes, stdin has ${bytes} or more`)
}
