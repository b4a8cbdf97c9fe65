/**
 * What `openim link` and `openim join` say alike: the code that both screens show, what the person
 * or a script makes of it, and why a linking failed.
 *
 * A script says "the same" only by writing the digits of the *other* screen to stdin: then they
 * were compared, and a script that just says yes to everything cannot be written by accident.
 */
import type { ShortCode } from '../crypto/short-auth.ts'
import { OpenIMError } from '../crypto/errors.ts'
import { errorTable } from '../protocol/errors.ts'
import { ask } from './ask.ts'
import type { InputLines } from './ask.ts'
import type { CommandContext } from './context.ts'
import { escapeText } from './escape.ts'

/** `nobody`: no answer came. */
export type Verdict = 'same' | 'different' | 'nobody'

/** @param whose of the other side: `account` at the new device, `device` at the old one */
export async function showLinkCode(
  { terminal }: CommandContext,
  { digits, pictures }: ShortCode,
  whose: { readonly account: string } | { readonly device: string },
): Promise<void> {
  const names = pictures.map(({ name }) => name)
  if (terminal.json) {
    await terminal.value({ event: 'comparing', ...whose, digits, pictures: names })
    return
  }
  terminal.say('account' in whose
    ? `This will be a device of ${quoted(whose.account)}.`
    : `A device that calls itself ${quoted(whose.device)} is there.`)
  terminal.say(`  ${pictures.map(({ symbol, name }) => `${symbol} ${name}`).join('   ')}`)
  await terminal.data(`  ${digits.slice(0, 3)} ${digits.slice(3)}`)
}

function quoted(name: string): string {
  return name === '' ? 'somebody without a name' : `"${escapeText(name)}"`
}

/** @throws INTERRUPTED */
export async function compareLinkCode(
  { terminal }: CommandContext,
  { digits }: ShortCode,
  answer: { readonly lines: InputLines, readonly signal: AbortSignal },
): Promise<Verdict> {
  if (terminal.interactive && !terminal.json) {
    const question = 'Does the other screen show the same digits and pictures? [y/N] '
    const said = await ask(terminal, question, answer.signal)
    if (answer.signal.aborted) return 'nobody'
    return /^y(es)?$/i.test(said) ? 'same' : 'different'
  }
  const line = await answer.lines.next(answer.signal)
  if (line === undefined) return 'nobody'
  return line.replaceAll(/[\s-]/g, '') === digits ? 'same' : 'different'
}

export function nobodyCompared(): OpenIMError {
  return new OpenIMError('USAGE_ARGUMENT',
    'nobody compared the digits: run this in a terminal, or write those of the other screen to stdin')
}

const reasons: Readonly<Record<string, string>> = {
  LINK_DIFFERENT: 'somebody said that the two screens do not show the same: nothing was handed out',
  LINK_CODE_OVER: 'the link code is used up, too old, or of another node',
  LINK_LEFT: 'the connection between the two devices broke',
  LINK_CANCELLED: 'the other side gave up',
  LINK_REPLACED: 'a newer link code took the place of this one',
  LINK_PROOF: 'somebody knocked who does not know the link code',
  LINK_UNREACHABLE: 'the node cannot be reached',
}

/** The reason may be the other device's own word, so it is taken only when it is one of ours. */
export function linkFailed(reason: string): OpenIMError {
  const code = Object.hasOwn(errorTable, reason) ? reason : 'LINK_MESSAGE'
  const what = reasons[code] ?? errorTable[code]!.meaning
  return new OpenIMError(code, what)
}
