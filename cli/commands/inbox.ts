/**
 * `openim inbox`: incoming messages, each once per reading position; what was shown is told to
 * its sender as read. With `--follow` it goes on until Ctrl-C.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { ClientEvent, HistoryEntry } from '../../protocol/client/api.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { flag, option, withNode } from '../context.ts'
import type { ControlClient } from '../control-client.ts'
import { escapeText } from '../escape.ts'
import { exits } from '../exits.ts'
import { InboxCursor } from '../inbox-cursor.ts'
import { messageShape, trustShape, unreadableShape } from '../json-shapes.ts'
import { alarmText, entryLines, trustText, unreadableText } from '../tables.ts'
import { formatTime } from '../units.ts'

const cursorName = /^[\w.-]{1,32}$/

export async function run(context: CommandContext): CommandResult {
  const name = option(context, 'cursor') ?? 'cli'
  if (!cursorName.test(name)) {
    const rule = '1 to 32 letters, digits, "_", "-" and "."'
    throw new OpenIMError('USAGE_ARGUMENT', `"${name}" is no cursor name: ${rule}`)
  }
  return await withNode(context, async (node) => {
    const from = option(context, 'from')
    const contact = from === undefined ? undefined : await node.call('contact', { contact: from })
    const all = flag(context, 'all')
    if (all) await showAll(context, node, contact?.address)
    if (all && !flag(context, 'follow')) return

    const cursor = await InboxCursor.open(node, { name, from: contact?.address })
    if (!flag(context, 'follow')) {
      const shown = await drain(context, node, cursor)
      if (shown === 0) context.terminal.say('Nothing new.')
      await showUnreadable(context, node)
      return
    }
    return await follow(context, node, cursor)
  })
}

/** Shows all that is new; returns how many. */
async function drain(context: CommandContext, node: ControlClient, cursor: InboxCursor): Promise<number> {
  let shown = 0
  for (;;) {
    const { entries, upTo, end } = await cursor.page()
    for (const entry of entries) await print(context, entry)
    await cursor.advance(upTo)
    const readUpTo = new Map(entries.map((entry) => [entry.contact, entry.cursor]))
    for (const [contact, position] of readUpTo) await markRead(node, contact, position)
    shown += entries.length
    if (end) return shown
  }
}

/** A contact that was removed meanwhile has nobody to tell. */
async function markRead(node: ControlClient, contact: string, upTo: number): Promise<void> {
  try {
    await node.call('markRead', { contact, upTo })
  } catch (error) {
    if (!(error instanceof OpenIMError) || error.code !== 'CONTACT_UNKNOWN') throw error
  }
}

async function follow(context: CommandContext, node: ControlClient, cursor: InboxCursor): CommandResult {
  const interrupt = context.takeInterrupts()
  const interrupted = new Promise<'interrupted'>((resolve) => {
    interrupt.addEventListener('abort', () => resolve('interrupted'))
  })
  let wake = Promise.withResolvers<void>()
  // Listening first, reading after: nothing that arrives between is missed.
  await node.follow((event) => {
    if (event.type === 'message') wake.resolve()
    if (event.type === 'trust') void tellTrust(context, event)
    if (event.type === 'undecryptable') void tellUnreadable(context, event)
  })
  for (;;) {
    wake = Promise.withResolvers<void>()
    await drain(context, node, cursor)
    const why = await Promise.race([wake.promise, interrupted, node.closed.then(() => 'closed' as const)])
    if (why === 'interrupted') return interrupt.reason === 'SIGINT' ? exits.interrupted : exits.ok
    if (why === 'closed') throw new OpenIMError('NODE_STOPPED', 'the node stopped')
  }
}

/** On stdout for a bot, which must see it; for a person it is talk. */
async function tellTrust(
  { terminal }: CommandContext,
  event: Extract<ClientEvent, { type: 'trust' }>,
): Promise<void> {
  if (terminal.json) {
    await terminal.value(trustShape(event))
    return
  }
  const { contact, to, code } = event
  const what = code === undefined ? trustText(to) : `${alarmText(code)} (${code})`
  terminal.warn(`! The key of ${escapeText(contact)}: ${what}`)
}

async function showAll(context: CommandContext, node: ControlClient, from?: string): Promise<void> {
  const only = from === undefined ? {} : { contact: from }
  for (let after = 0; ;) {
    const entries = await node.call('history', { after, limit: 100, direction: 'in', ...only })
    for (const entry of entries) await print(context, entry)
    const last = entries.at(-1)
    if (last === undefined) return
    after = last.cursor
  }
}

async function print({ terminal, clock }: CommandContext, entry: HistoryEntry): Promise<void> {
  if (terminal.json) {
    await terminal.value(messageShape(entry))
    return
  }
  const [first = '', ...more] = entryLines(entry)
  const time = formatTime(entry.sentAtMs, clock.now())
  const gap = entry.afterGap === true ? terminal.style('faint', '(one before this never came) ') : ''
  const head = `${terminal.style('faint', time)} ${terminal.style('strong', escapeText(entry.contact))}  `
  if (entry.alarm !== undefined) {
    terminal.warn(`! The key of ${escapeText(entry.contact)}: ${alarmText(entry.alarm)} (${entry.alarm})`)
  }
  const indent = ' '.repeat(time.length + 1)
  await terminal.data([`${head}${gap}${first}`, ...more.map((line) => indent + line)].join('\n'))
}

/** What is asked for again is nowhere else; what is lost has its line among the messages. */
async function showUnreadable(context: CommandContext, node: ControlClient): Promise<void> {
  for (const unreadable of await node.call('unreadable', {})) {
    if (unreadable.state === 'asked') context.terminal.warn(`! ${unreadableText(unreadable)}`)
  }
}

async function tellUnreadable(
  { terminal }: CommandContext,
  event: Extract<ClientEvent, { type: 'undecryptable' }>,
): Promise<void> {
  if (terminal.json) await terminal.value(unreadableShape(event))
  // Of a contact it has its line among the messages.
  else if (event.state !== 'lost' || event.contact === '') terminal.warn(`! ${unreadableText(event)}`)
}
