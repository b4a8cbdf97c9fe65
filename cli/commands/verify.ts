/**
 * `openim verify`: the safety number with a contact, as digits and QR code, and what becomes of it:
 * compared by the person (asked for on a terminal, `--yes` elsewhere) or by the machine (`--digits`).
 */
import { readFile } from 'node:fs/promises'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Contact, SafetyNumber, SessionSecrecy } from '../../protocol/client/api.ts'
import { ask } from '../ask.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { flag, option, withNode } from '../context.ts'
import type { ControlClient } from '../control-client.ts'
import { escapeText, shellWord } from '../escape.ts'
import { contactShape, iso } from '../json-shapes.ts'
import { showQr } from '../show-qr.ts'
import { readStdinText } from '../stdin-text.ts'
import { alarmText, trustText } from '../tables.ts'
import { formatTime } from '../units.ts'

const comparedBytesMax = 512
const groupsPerLine = 4
/** A fresh key comes at least every 32nd change; below half of that there is nothing to say. */
const pqAgeStepsShown = 16

export async function run(context: CommandContext): CommandResult {
  checkFlags(context)
  const { terminal } = context
  const [name] = context.args
  await withNode(context, async (node) => {
    if (name === undefined) {
      await showOwn(context, node)
      return
    }
    const contact = await node.call('contact', { contact: name })
    const number = await node.call('safetyNumber', { contact: contact.address })
    if (!terminal.json) await show(context, contact, number)
    const after = await act(context, node, contact)
    if (terminal.json) {
      const { digits, code, sessions } = number
      await terminal.value({ ...contactShape(after ?? contact), digits, code, sessions })
    } else if (after !== undefined) {
      terminal.say(`✓ ${escapeText(after.name)}: ${trustText(after.trust)}`)
    }
  })
}

/** What is to be done takes one flag; which of two was meant nobody can tell. */
function checkFlags(context: CommandContext): void {
  const given = ['yes', 'digits', 'accept', 'unverify'].filter((name) => context.options[name] !== undefined)
  if (given.length < 2) return
  const what = given.map((name) => `--${name}`).join(' and ')
  throw new OpenIMError('USAGE_ARGUMENT', `${what} do not go together: take one of them`)
}

/** The contact as it is afterwards; `undefined` when nothing was said about it. */
async function act(
  context: CommandContext,
  node: ControlClient,
  { address, name }: Contact,
): Promise<Contact | undefined> {
  const contact = address
  const compared = option(context, 'digits')
  if (compared !== undefined) {
    return await node.call('verify', { contact, compared: await readCompared(context, compared) })
  }
  if (flag(context, 'unverify')) return await node.call('unverify', { contact })
  if (flag(context, 'accept')) return await node.call('acceptChange', { contact })
  if (flag(context, 'yes')) return await node.call('markVerified', { contact })
  if (context.terminal.json) return undefined
  if (!context.terminal.interactive) {
    const again = `${context.openim} verify ${shellWord(escapeText(name))}`
    context.terminal.say(`The same on both sides?  ${again} --yes`)
    return undefined
  }
  const question = `Does ${escapeText(name)} see the same? [yes/no/later] `
  const answer = (await ask(context.terminal, question)).toLowerCase()
  if (answer.startsWith('y')) return await node.call('markVerified', { contact })
  if (!answer.startsWith('n')) return undefined
  throw new OpenIMError('SAFETY_NUMBER_MISMATCH', `somebody may stand between you and ${escapeText(name)}`)
}

/** Alarms about our own account: only others can see a list that somebody else makes of it. */
async function showOwn(context: CommandContext, node: ControlClient): Promise<void> {
  const { terminal } = context
  const { alarms } = await node.call('info', {})
  if (flag(context, 'accept')) await node.call('acknowledgeAlarms', {})
  if (terminal.json) {
    await terminal.value({ alarms: alarms.map(({ atMs, ...alarm }) => ({ ...alarm, at: iso(atMs) })) })
    return
  }
  if (alarms.length === 0) terminal.say('Nobody saw anything wrong with your keys.')
  for (const { contact, code, atMs, number } of alarms) {
    const when = formatTime(atMs, context.clock.now())
    const what = `${escapeText(contact)} has a list of your devices (${number}) that was not made here`
    await terminal.data(`${when}  ${what} (${code})`)
  }
}

async function show(context: CommandContext, contact: Contact, number: SafetyNumber): Promise<void> {
  const { terminal } = context
  const { name, trust, alarm } = contact
  terminal.say(`${escapeText(name)}  ${trustText(trust)}`)
  if (alarm !== undefined) terminal.say(`! ${alarmText(alarm)} (${alarm})`)
  for (const line of secrecyLines(number.sessions)) terminal.say(line)
  const lines = Array.from({ length: number.digits.length / groupsPerLine }, (_, i) =>
    number.digits.slice(i * groupsPerLine, (i + 1) * groupsPerLine).join(' '))
  for (const line of lines) await terminal.data(line)
  await showQr(context, number.code, [
    'The same digits stand on their', 'screen. Compare side by side or by', 'voice, or let them scan this.',
  ])
}

/** Of the device where it is worst; nothing while all is as it should be. */
function secrecyLines(sessions: readonly SessionSecrecy[]): string[] {
  const lines = []
  if (sessions.some(({ weakForwardSecrecy }) => weakForwardSecrecy)) {
    lines.push('! begun while one-time keys had run out: safe from later theft once both have answered')
  }
  const age = Math.max(0, ...sessions.map(({ pqAgeSteps }) => pqAgeSteps))
  if (age >= pqAgeStepsShown) lines.push(`Newest post-quantum key: ${age} changes of speaker ago`)
  return lines
}

async function readCompared({ terminal }: CommandContext, path: string): Promise<string> {
  const tooLong = (bytes: number): OpenIMError =>
    new OpenIMError('SAFETY_NUMBER_FORMAT', `${bytes} bytes are no safety number`)
  if (path === '-') return await readStdinText(terminal, { bytesMax: comparedBytesMax, tooLong })
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new OpenIMError('USAGE_FILE', `cannot read the safety number in ${path}`, { cause })
  }
  if (text.length > comparedBytesMax) throw tooLong(text.length)
  return text
}
