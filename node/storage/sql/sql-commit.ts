/**
 * Group commit over SQL: one transaction under way for each lane of a store (sql-lanes.ts),
 * everything submitted meanwhile goes into the next, in call order.
 *
 * ```text
 *   submit ──► queue ──► BEGIN · lock · read · apply one by one on a draft · write · COMMIT ──► answers
 * ```
 *
 * What a group touches is locked before it is read, in sorted order, across processes: every
 * operation is one atomic step, and two groups never wait for each other in a circle. A lock is a
 * row of openim_lock, by hash, because what is not there yet cannot be locked.
 *
 * When the connection breaks during COMMIT nobody knows whether the group was written. So each
 * group leaves its number in openim_writer: the next try looks there first, and a write is done
 * exactly once.
 */
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import { randomFraction } from '../../../crypto/random.ts'
import type { Random } from '../../../crypto/random.ts'
import { limits } from '../../../protocol/limits.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { sleep } from '../../../protocol/timers.ts'
import type { Log } from '../../ports.ts'
import { tlsError } from '../tls-refusal.ts'
import type { SqlDriver, SqlReader, SqlRow, SqlSession, SqlTrouble } from './sql-driver.ts'
import { bytesOf, forEach, numberOf, sendEach, sqlNumber } from './sql-driver.ts'
import { SqlDraft } from './sql-draft.ts'
import type { SqlNeeds } from './sql-draft.ts'

export interface SqlOperation<T> {
  /** Needs room: refused while there is none. */
  readonly grows: boolean
  /** About what it writes. */
  readonly bytes: number
  /** What `apply` looks at or changes; may look for it, though others may still change it. */
  needs(session: SqlReader): SqlNeeds | Promise<SqlNeeds>
  /** Makes its changes; may run again. Throws before the first of them or not at all. */
  apply(draft: SqlDraft): T
}

interface Pending {
  readonly operation: SqlOperation<unknown>
  resolve(value: unknown): void
  reject(error: unknown): void
}

export interface SqlCommitComponents {
  readonly driver: SqlDriver
  /** Of what is stored: when it expires. */
  readonly clock: Clock
  /** Of waiting and trying again. */
  readonly paceClock: Clock
  readonly random: Random
  readonly log: Log
  readonly weather: SqlWeather
  /** Into one group. */
  readonly operationsMax: number
}

/** What all lanes of a store share. */
export interface SqlWeather {
  /** Waiting to be written. */
  queuedBytes: number
  /** Monotonic time since when the database is away. */
  awaySinceMs: number | undefined
}

const firstPauseMs = 20
const longestPauseMs = 500
const writerKeptMs = 7 * 86_400_000

export class SqlCommitQueue {
  readonly #components: SqlCommitComponents
  readonly #writer: Uint8Array
  /** Of the last group that was begun. */
  #number = 0
  #queue: Pending[] = []
  #running: Promise<void> | undefined
  #isClosed = false

  private constructor(components: SqlCommitComponents) {
    this.#components = components
    this.#writer = components.random.bytes(16)
  }

  static async open(components: SqlCommitComponents): Promise<SqlCommitQueue> {
    const queue = new SqlCommitQueue(components)
    await queue.#enrol()
    return queue
  }

  /**
   * Settles when the operation is durable.
   * @throws STORE_FULL, STORE_CLOSED, STORE_IO, STORE_AWAY, STORE_BUSY
   */
  submit<T>(operation: SqlOperation<T>): Promise<T> {
    if (this.#isClosed) return Promise.reject(new OpenIMError('STORE_CLOSED', 'the store is closed'))
    const { weather } = this.#components
    const waiting = weather.queuedBytes
    if (operation.grows && waiting + operation.bytes > limits.commitQueueBytesMax) {
      return Promise.reject(new OpenIMError('STORE_BUSY',
        `${waiting} bytes wait to be written already; try again later`))
    }
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ operation, resolve: resolve as (value: unknown) => void, reject })
      weather.queuedBytes += operation.bytes
      this.#running ??= this.#run()
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#running
  }

  /** Its row is there from the start, so that whoever asks for it waits for its last transaction. */
  async #enrol(): Promise<void> {
    const { driver, clock } = this.#components
    const longAgo = sqlNumber(Math.max(0, clock.now() - writerKeptMs))
    const left = await driver.run('SELECT writer FROM openim_writer WHERE seen_at < ?', [longAgo])
    for (let tries = 1; ; tries++) {
      try {
        await driver.transaction(async (session) => {
          const values = [this.#writer, 0n, sqlNumber(clock.now())]
          await session.run('INSERT INTO openim_writer (writer, number, seen_at) VALUES (?, ?, ?)', values)
          const gone = left.map(({ writer }) => bytesOf(writer))
          sendEach(session, 'DELETE FROM openim_writer WHERE writer (*)', gone)
        })
        return
      } catch (error) {
        if (driver.trouble(error) !== 'again' || tries === limits.databaseTriesMax) throw error
        await this.#pause(tries)
      }
    }
  }

  async #run(): Promise<void> {
    // Everything submitted in this turn joins the first group.
    await undefined
    while (this.#queue.length > 0) await this.#settle(this.#takeGroup())
    this.#running = undefined
  }

  #takeGroup(): Pending[] {
    const { weather, operationsMax } = this.#components
    let bytes = 0
    let count = 0
    for (const { operation } of this.#queue) {
      const isTooMuch = bytes + operation.bytes > limits.commitBytesMax || count >= operationsMax
      if (count > 0 && isTooMuch) break
      bytes += operation.bytes
      count++
    }
    weather.queuedBytes -= bytes
    return this.#queue.splice(0, count)
  }

  /** Answers every one of the group, sooner or later. */
  async #settle(group: readonly Pending[]): Promise<void> {
    const number = ++this.#number
    let answers: Answer[] | undefined
    for (let tries = 1; ; tries++) {
      const attempt: Attempt = { group, number, before: answers, answers: undefined }
      try {
        await this.#attempt(attempt)
        this.#back()
        for (const [i, pending] of group.entries()) answer(pending, attempt.answers![i]!)
        return
      } catch (error) {
        // Known to have been written or not only by asking.
        answers = attempt.answers ?? answers
        const trouble = this.#components.driver.trouble(error)
        if (this.#mayTryAgain(trouble, tries)) {
          await this.#pause(tries)
          continue
        }
        await this.#refuse(group, error, trouble)
        return
      }
    }
  }

  async #attempt(attempt: Attempt): Promise<void> {
    const { driver, clock } = this.#components
    await driver.transaction(async (session) => {
      if (attempt.before !== undefined && await this.#wasWritten(session, attempt.number)) {
        attempt.answers = attempt.before
        return
      }
      const operations = attempt.group.map(({ operation }) => operation)
      const draft = new SqlDraft(driver, clock)
      const needs: SqlNeeds[] = []
      for (const operation of operations) {
        const own = operation.needs(session)
        needs.push(own instanceof Promise ? await own : own)
      }
      draft.needs(needs)
      await Promise.all([this.#lock(session, draft), draft.load(session)])
      const answers = operations.map((operation): Answer => {
        try {
          return { value: operation.apply(draft) }
        } catch (error) {
          return { error }
        }
      })
      draft.write(session)
      const values = [BigInt(attempt.number), sqlNumber(clock.now()), this.#writer]
      session.send('UPDATE openim_writer SET number = ?, seen_at = ? WHERE writer = ?', values)
      attempt.answers = answers
    })
  }

  async #lock(session: SqlSession, draft: SqlDraft): Promise<void> {
    const text = 'SELECT stripe FROM openim_lock WHERE stripe (*) ORDER BY stripe FOR UPDATE'
    await forEach(session, text, draft.stripes().map(BigInt))
  }

  /** Waits for the transaction of which nobody knows whether it went through. */
  async #wasWritten(session: SqlSession, number: number): Promise<boolean> {
    const text = 'SELECT number FROM openim_writer WHERE writer = ? FOR UPDATE'
    const [row] = await session.run(text, [this.#writer]) as [SqlRow | undefined]
    return row !== undefined && numberOf(row['number']) === number
  }

  #mayTryAgain(trouble: SqlTrouble, tries: number): boolean {
    if (trouble === 'again') return tries < limits.databaseTriesMax
    if (trouble !== 'away') return false
    const { weather, paceClock, log } = this.#components
    const nowMs = paceClock.monotonicMs()
    if (weather.awaySinceMs === undefined) {
      log.warn({ code: 'STORE_AWAY' }, awayError().message)
      weather.awaySinceMs = nowMs
    }
    return nowMs - weather.awaySinceMs < limits.databaseAwayMs
  }

  #back(): void {
    const { weather, log } = this.#components
    if (weather.awaySinceMs === undefined) return
    weather.awaySinceMs = undefined
    log.info({}, 'the database is back')
  }

  async #pause(tries: number): Promise<void> {
    const { paceClock, random } = this.#components
    const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** tries)
    await sleep(paceClock, pauseMs * (0.5 + randomFraction(random) / 2))
  }

  async #refuse(group: readonly Pending[], error: unknown, trouble: SqlTrouble): Promise<void> {
    const rest = group.filter(({ operation }) => !operation.grows)
    if (trouble === 'full' && rest.length < group.length) {
      // What deletes may still go through, and makes room.
      for (const { operation, reject } of group) if (operation.grows) reject(storeError(error, trouble))
      if (rest.length > 0) await this.#settle(rest)
    } else if (trouble === 'other' && group.length > 1) {
      // One of them is the reason; the others must not suffer for it.
      for (const one of group) await this.#settle([one])
    } else {
      for (const { reject } of group) reject(storeError(error, trouble))
    }
  }
}

type Answer = { readonly value: unknown } | { readonly error: unknown }

interface Attempt {
  readonly group: readonly Pending[]
  readonly number: number
  /** Answers of an earlier try that may have been written. */
  readonly before: Answer[] | undefined
  answers: Answer[] | undefined
}

function answer({ resolve, reject }: Pending, given: Answer): void {
  if ('error' in given) reject(given.error)
  else resolve(given.value)
}

/** What a driver threw, as one of ours. */
export function storeError(cause: unknown, trouble: SqlTrouble): OpenIMError {
  if (cause instanceof OpenIMError) return cause
  if (trouble === 'away') return awayError(cause)
  const reason = `${errorCode(cause) ?? ''} ${cause instanceof Error ? cause.message : String(cause)}`.trim()
  if (trouble === 'tls') return tlsError(reason, cause)
  if (trouble === 'full') {
    return new OpenIMError('STORE_FULL', `the database has no room (${reason}); make some`, { cause })
  }
  return new OpenIMError('STORE_IO', `the database failed (${reason}); see its own log`, { cause })
}

function awayError(cause?: unknown): OpenIMError {
  const message = 'the database does not answer; see that it runs, the node goes on by itself'
  return new OpenIMError('STORE_AWAY', message, cause === undefined ? {} : { cause })
}
