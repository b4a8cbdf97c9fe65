/**
 * `openim send`: writes a message down and says how far it came.
 *
 * Without `--wait` it looks for two seconds and reports what is so: a queued message is no
 * failure, it goes out by itself. With `--wait STATE` a script gets exit 6 when that state is not
 * reached in time; the state it has is printed either way.
 */
import { resolve } from 'node:path'
import { OpenIMError } from '../../crypto/errors.ts'
import type { FileStatus, MessageState, MessageStatus } from '../../protocol/client/api.ts'
import { limits } from '../../protocol/limits.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { option, withNode } from '../context.ts'
import { escapeText } from '../escape.ts'
import { exits } from '../exits.ts'
import { fileShape, stateMs, statusShape } from '../json-shapes.ts'
import { readStdinText } from '../stdin-text.ts'
import { stateText } from '../tables.ts'
import { goesOnText, watchTransfer } from '../transfer.ts'
import { formatDuration, formatSize } from '../units.ts'

const glanceMs = 2_000
const patienceMs = 10_000
type Ranks = Readonly<Record<MessageState, number>>
const rank: Ranks = { failed: -1, queued: 0, stored: 1, delivered: 2, read: 3 }

export async function run(context: CommandContext): CommandResult {
  const [contact, given] = context.args as [string, string | undefined]
  const file = option(context, 'file')
  if ((file === undefined) === (given === undefined)) {
    throw new OpenIMError('USAGE_ARGUMENT', 'say what to send: either a text or --file PATH')
  }
  if (file !== undefined) return await sendFile(context, contact, file)
  const text = given === '-' ? await readStdin(context) : given!
  const wanted = option(context, 'wait') as MessageState | undefined
  const asked = context.options['timeout'] as number | undefined
  const timeoutMs = asked ?? (wanted === undefined ? glanceMs : patienceMs)
  const state = wanted ?? 'delivered'

  const { status, waitedMs } = await withNode(context, async (node) => {
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

/** The node reads the file and goes on by itself; here it is only watched. */
async function sendFile(context: CommandContext, contact: string, file: string): CommandResult {
  const { terminal, openim } = context
  const name = option(context, 'name')
  const named = name === undefined ? {} : { name }
  return await withNode(context, async (node) => {
    let id = ''
    const sent = await watchTransfer(context, node, async () => {
      const begun = await node.call('sendFile', { contact, path: resolve(file), ...named })
      id = begun.id
      return begun
    })
    if (sent === undefined) {
      terminal.say(goesOnText(openim, id))
      return exits.interrupted
    }
    if (terminal.json) await terminal.value(fileShape(sent))
    else terminal.say(sentText(sent))
    const wanted = option(context, 'wait') as MessageState | undefined
    if (wanted === undefined) return exits.ok
    const timeoutMs = context.options['timeout'] as number | undefined ?? patienceMs
    const status = await node.call('waitFor', { id: sent.id, state: wanted, timeoutMs })
    await show(context, status, context.clock.now() - status.sentAtMs)
    if (rank[status.state] < rank[wanted]) throw notReached(status, wanted, timeoutMs)
    return exits.ok
  })
}

function sentText({ name, size, stored }: FileStatus): string {
  const { have = 0, want = 0 } = stored ?? {}
  const where = want === 0
    ? 'only this node holds it: leave it on until they have it'
    : `${have} other nodes hold it for 14 days`
  return `✓ sent ${escapeText(name)}, ${formatSize(size)}; ${where}`
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

/** All of stdin as one message. */
async function readStdin({ terminal }: CommandContext): Promise<string> {
  const text = await readStdinText(terminal, { bytesMax: limits.textBytesMax, tooLong })
  if (text === '') throw new OpenIMError('USAGE_ARGUMENT', 'there is nothing on stdin to send')
  return text
}

function tooLong(bytes: number): OpenIMError {
  const limit = limits.textBytesMax
  return new OpenIMError('TEXT_TOO_LONG', `a message has at most ${limit} bytes, stdin has ${bytes} or more`)
}
