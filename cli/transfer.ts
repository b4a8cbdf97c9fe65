/**
 * Watching a transfer of a file that the node carries out: a bar for a person, a line now and then
 * for a log, one JSON object each time for a script. Whoever stops watching stops nothing.
 */
import { OpenIMError } from '../crypto/errors.ts'
import type { FileState, FileStatus } from '../protocol/client/api.ts'
import type { CommandContext } from './context.ts'
import type { ControlClient } from './control-client.ts'
import { escapeText } from './escape.ts'
import { shortId } from './file-id.ts'
import { fileShape } from './json-shapes.ts'
import { formatDuration, formatSize } from './units.ts'

const barCells = 24
/** Without a terminal a line is written each time so much more is done. */
const stepShare = 0.1
/** The rate is that of the last while, so that it follows the line. */
const rateWindowMs = 5_000
const underWay: ReadonlySet<FileState> = new Set(['sending', 'fetching'])

interface Sample {
  readonly atMs: number
  readonly done: number
}

/**
 * Begins a transfer and stays until its end. `undefined` when the person went away (Ctrl-C).
 * @throws the transfer's own code, NODE_STOPPED
 */
export async function watchTransfer(
  context: CommandContext,
  node: ControlClient,
  begin: () => Promise<FileStatus>,
): Promise<FileStatus | undefined> {
  const watch = new Watch(context)
  const interrupt = context.takeInterrupts()
  // Listening first: the end of a small file may come before the answer.
  await node.follow((event) => { if (event.type === 'file') watch.take(event.file) })
  watch.follow(await begin())
  const interrupted = new Promise<'interrupted'>((resolve) => {
    interrupt.addEventListener('abort', () => resolve('interrupted'), { once: true })
  })
  const end = await Promise.race([watch.end, interrupted, node.closed.then(() => 'stopped' as const)])
  watch.clear()
  if (end === 'stopped') {
    throw new OpenIMError('NODE_STOPPED', 'the node stopped; the transfer goes on with it')
  }
  return end === 'interrupted' ? undefined : end
}

/** For who stops watching. */
export function goesOnText(openim: string, id: string): string {
  const cancel = `${openim} files cancel ${shortId(id)}`
  return `The node goes on by itself.  See: ${openim} files   stop it: ${cancel}`
}

class Watch {
  readonly #context: CommandContext
  readonly #end = Promise.withResolvers<FileStatus>()
  /** Of the last while, oldest first. */
  #samples: Sample[] = []
  #early = new Map<string, FileStatus>()
  #id: string | undefined
  #shownShare = 0
  #shownCode = ''
  #hasEnded = false

  constructor(context: CommandContext) {
    this.#context = context
  }

  get end(): Promise<FileStatus> {
    return this.#end.promise
  }

  follow(status: FileStatus): void {
    this.#id = status.id
    this.take(this.#early.get(status.id) ?? status)
    this.#early.clear()
  }

  take(status: FileStatus): void {
    if (this.#id === undefined) this.#early.set(status.id, status)
    if (status.id !== this.#id || this.#hasEnded) return
    if (underWay.has(status.state)) {
      this.#show(status)
      return
    }
    this.#hasEnded = true
    const isGood = status.state === 'sent' || status.state === 'saved'
    if (isGood) this.#end.resolve(status)
    else this.#end.reject(failure(status))
  }

  clear(): void {
    this.#context.terminal.progress('')
  }

  #show(status: FileStatus): void {
    const { terminal, clock } = this.#context
    const nowMs = clock.monotonicMs()
    this.#samples = this.#samples.filter(({ atMs }) => nowMs - atMs <= rateWindowMs)
    this.#samples.push({ atMs: nowMs, done: status.done })
    if (terminal.json) {
      void terminal.value({ event: 'progress', ...fileShape(status) })
      return
    }
    if (terminal.watched) {
      terminal.progress(this.#bar(status))
      return
    }
    const share = shareOf(status)
    const isNews = share >= this.#shownShare + stepShare || (status.code ?? '') !== this.#shownCode
    // Its end is said in another way.
    if (!isNews || share === 1) return
    this.#shownShare = share
    this.#shownCode = status.code ?? ''
    terminal.say(this.#figures(status))
  }

  #bar(status: FileStatus): string {
    const full = Math.floor(shareOf(status) * barCells)
    return `[${'='.repeat(full)}${' '.repeat(barCells - full)}]  ${this.#figures(status)}`
  }

  #figures(status: FileStatus): string {
    const { done, size, code } = status
    const percent = `${Math.floor(shareOf(status) * 100)} %`
    const parts = [percent.padStart(5), `${formatSize(done)} of ${formatSize(size)}`]
    const rate = this.#bytesPerMs()
    if (code !== undefined) parts.push(`waits (${escapeText(code)})`)
    else if (rate > 0) {
      parts.push(`${formatSize(rate * 1_000)}/s`, `${formatDuration((size - done) / rate)} left`)
    }
    return parts.join('  ')
  }

  #bytesPerMs(): number {
    const [first] = this.#samples
    const last = this.#samples.at(-1)
    if (first === undefined || last === undefined || last.atMs === first.atMs) return 0
    return Math.max(0, last.done - first.done) / (last.atMs - first.atMs)
  }
}

function shareOf({ done, size }: FileStatus): number {
  return size === 0 ? 1 : Math.min(1, done / size)
}

function failure({ state, code, name }: FileStatus): OpenIMError {
  const ends: Partial<Record<FileState, string>> = { cancelled: 'was cancelled', expired: 'expired' }
  const what = ends[state] ?? 'did not go through'
  const reason = code === undefined ? '' : ` (${code})`
  const fallback = state === 'expired' ? 'FILE_EXPIRED' : 'FILE_CANCELLED'
  return new OpenIMError(code ?? fallback, `${escapeText(name)} ${what}${reason}`)
}
