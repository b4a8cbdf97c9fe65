/**
 * `openim chat`: a conversation line by line. What arrives is printed above the line being typed,
 * which stays as it is. Without a terminal it reads lines and prints lines, for pipes and tests.
 *
 * Alternative weighed: a full-screen interface. Refused: it takes forty times the processor time
 * for a thousand messages, and takes the terminal's own scrolling and search away.
 */
import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import { errorCode } from '../../crypto/errors.ts'
import type {
  ClientEvent, Contact, HistoryEntry, MessageState, MessageStatus,
} from '../../protocol/client/api.ts'
import type { MessageId } from '../../protocol/ids.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import type { ControlClient } from '../control-client.ts'
import { escapeText, shellWord } from '../escape.ts'
import { outcomeOf } from '../outcomes.ts'
import {
  alarmText, entryLines, keyText, seenText, stateText, trustText, unreadableText,
} from '../tables.ts'
import { formatTime } from '../units.ts'

const historyShown = 10
/** After piped input ended, messages get this long to arrive. */
const settleMs = 2_000

export async function run(context: CommandContext): CommandResult {
  return await withNode(context, async (node) => {
    const contact = await node.call('contact', { contact: context.args[0]! })
    const chat = new Chat(context, node, contact)
    await chat.run()
  })
}

class Chat {
  readonly #context: CommandContext
  readonly #node: ControlClient
  #contact: Contact
  #lines: Interface | undefined
  /** Last state printed, by message; only of this run. */
  readonly #states = new Map<MessageId, { text: string, state: MessageState }>()
  /** Cursor of the newest message shown. */
  #shownUpTo = 0
  /** Lines are handled one after the other. */
  #queue: Promise<void> = Promise.resolve()

  constructor(context: CommandContext, node: ControlClient, contact: Contact) {
    this.#context = context
    this.#node = node
    this.#contact = contact
  }

  async run(): Promise<void> {
    const { terminal } = this.#context
    const waiting: ClientEvent[] = []
    let ready = false
    await this.#node.follow((event) => (ready ? this.#event(event) : waiting.push(event)))
    this.#print(this.#headline())
    await this.#showHistory()
    ready = true
    for (const event of waiting) this.#event(event)

    const lines = createInterface({
      input: terminal.streams.stdin,
      ...(terminal.interactive ? { output: terminal.streams.stdout, prompt: '> ' } : {}),
      terminal: terminal.interactive,
    })
    this.#lines = lines
    lines.on('line', (line) => { this.#queue = this.#queue.then(() => this.#typed(line)) })
    lines.on('SIGINT', () => lines.close())
    this.#prompt()
    const left = new Promise<'left'>((resolve) => {
      lines.once('close', () => {
        this.#lines = undefined
        resolve('left')
      })
    })
    const how = await Promise.race([left, this.#node.closed])
    if (how !== 'left') {
      lines.close()
      this.#print('The node stopped.')
    }
    await this.#queue
    await this.#settle()
    if (terminal.interactive) this.#context.terminal.say('')
  }

  #headline(): string {
    const { name, state, lastSeenAtMs } = this.#contact
    const key = state === 'active' ? keyText(this.#contact) : 'asked, no answer yet'
    const seen = seenText(lastSeenAtMs, this.#context.clock.now())
    return `${this.#context.terminal.style('strong', escapeText(name))}  ${key}  seen ${seen}  /help`
  }

  async #showHistory(): Promise<void> {
    const query = { contact: this.#contact.name, limit: historyShown, reverse: true }
    const entries = await this.#node.call('history', query)
    for (const entry of entries.toSorted((a, b) => a.cursor - b.cursor)) this.#show(entry)
    await this.#markRead()
  }

  #event(event: ClientEvent): void {
    switch (event.type) {
      case 'message':
        if (event.entry.contact !== this.#contact.name || event.entry.direction === 'out') return
        this.#show(event.entry)
        void this.#markRead()
        return
      case 'status':
        this.#statusChanged(event.status)
        return
      case 'contact':
        if (event.contact.address === this.#contact.address) this.#contactChanged(event.contact)
        return
      case 'trust':
        if (event.contact === this.#contact.name) this.#trustChanged(event)
        return
      case 'undecryptable':
        if (event.contact !== this.#contact.name) return
        // What is lost has its line as a message.
        if (event.state !== 'lost') this.#print(`! ${unreadableText(event)}`)
        return
      case 'connection':
        this.#print(event.online ? 'Connected.' : 'Not connected: messages wait here.')
    }
  }

  #contactChanged(contact: Contact): void {
    const before = this.#contact
    this.#contact = contact
    const name = escapeText(contact.name)
    if (contact.state === 'active' && before.state !== 'active') {
      this.#print(`✓ ${name} answered: you are connected`)
    }
  }

  #trustChanged({ from, to, code }: Extract<ClientEvent, { type: 'trust' }>): void {
    const name = escapeText(this.#contact.name)
    if (code !== undefined) {
      this.#print(`! The key of ${name}: ${alarmText(code)} (${code})`)
      const verify = `${this.#context.openim} verify ${shellWord(name)}`
      if (to === 'changed') this.#print(`! Nothing is sent until you settled it: ${verify}`)
    } else if (to !== from) {
      this.#print(`The key of ${name}: ${trustText(to)}`)
    }
  }

  #show(entry: HistoryEntry): void {
    if (entry.cursor <= this.#shownUpTo) return
    this.#shownUpTo = entry.cursor
    const { terminal, clock } = this.#context
    const time = formatTime(entry.sentAtMs, clock.now())
    const name = entry.direction === 'in' ? terminal.style('strong', escapeText(entry.contact)) : 'me'
    const gap = entry.afterGap === true ? terminal.style('faint', '(one before this never came) ') : ''
    const state = entry.status === undefined ? '' : terminal.style('faint', `  ${stateText(entry.status)}`)
    const [first = '', ...more] = entryLines(entry)
      .map((line) => (entry.unreadable === undefined ? line : terminal.style('faint', line)))
    const indent = ' '.repeat(time.length + 1)
    const head = `${terminal.style('faint', time)} ${name}  ${gap}${first}`
    this.#print([head, ...more.map((line) => indent + line)].join('\n') + state)
  }

  async #markRead(): Promise<void> {
    if (this.#shownUpTo === 0) return
    // Not worth a line on the screen: it is said again with the next message.
    await this.#node.call('markRead', { contact: this.#contact.name, upTo: this.#shownUpTo }).catch(() => {})
  }

  async #typed(line: string): Promise<void> {
    const text = line.trim()
    if (text.startsWith('/') && !text.startsWith('//')) await this.#command(text)
    else if (text !== '') await this.#send(text.startsWith('//') ? text.slice(1) : line)
    this.#prompt()
  }

  async #send(text: string): Promise<void> {
    try {
      const status = await this.#node.call('send', { contact: this.#contact.name, text })
      const before = this.#states.get(status.id)
      this.#states.set(status.id, { text, state: before?.state ?? 'queued' })
      this.#statusChanged(status)
      // The rest comes as events; one of them may have been before this reply.
      const latest = await this.#node.call('messageStatus', { id: status.id })
      if (latest !== null) this.#statusChanged(latest)
    } catch (error) {
      this.#complain(error)
    }
  }

  /** States only go forward; each is shown once, with the words it is about. */
  #statusChanged(status: MessageStatus): void {
    const own = this.#states.get(status.id)
    if (own === undefined || own.state === status.state) return
    own.state = status.state
    const about = escapeText(own.text.length > 24 ? `${own.text.slice(0, 23)}…` : own.text)
    this.#print(this.#context.terminal.style('faint', `      ${stateText(status)}  ${about}`))
  }

  async #command(text: string): Promise<void> {
    const command = text.slice(1).split(/\s/, 1)[0]!
    switch (command) {
      case 'quit':
      case 'q':
        this.#lines?.close()
        return
      case 'help':
        this.#print('/status  who and how far   /quit  leave (or Ctrl-D)   //text  sends /text')
        return
      case 'status':
        await this.#showStatus()
        return
      default:
        this.#print(`There is no /${escapeText(command)}.  /help lists what there is; //text sends /text`)
    }
  }

  async #showStatus(): Promise<void> {
    try {
      this.#contact = await this.#node.call('contact', { contact: this.#contact.address })
      const { outbox, online } = await this.#node.call('info', {})
      const link = online ? 'connected' : 'not connected'
      this.#print(`${this.#headline()}\n${this.#contact.address}\n${link}, ${outbox} not delivered yet`)
    } catch (error) {
      this.#complain(error)
    }
  }

  #complain(error: unknown): void {
    const outcome = outcomeOf(error)
    if (outcome === undefined && errorCode(error) === undefined) throw error
    const hint = outcome === undefined ? '' : `\n${outcome.hint.replaceAll('{openim}', this.#context.openim)}`
    this.#print(`! ${(error as Error).message}${hint}`)
  }

  /** Above the line being typed. */
  #print(text: string): void {
    const { terminal } = this.#context
    const { stdout } = terminal.streams
    const lines = this.#lines
    if (lines === undefined || !terminal.interactive) {
      stdout.write(`${text}\n`)
      return
    }
    // To the start of the typed text, which may have wrapped; clear it, print, draw it again.
    const { rows } = lines.getCursorPos()
    stdout.write(`\r${rows > 0 ? `\u001b[${rows}A` : ''}\u001b[J${text}\n`)
    // readline moves up by the rows it believes the cursor to be at; it is at the top of a new line.
    ;(lines as Interface & { prevRows?: number }).prevRows = 0
    lines.prompt(true)
  }

  #prompt(): void {
    if (this.#context.terminal.interactive) this.#lines?.prompt()
  }

  /** Piped input ends at once; give what was just sent a moment to get somewhere. */
  async #settle(): Promise<void> {
    if (this.#context.terminal.interactive) return
    const open = [...this.#states].filter(([, own]) => own.state === 'queued' || own.state === 'stored')
    await Promise.all(open.map(async ([id]) => {
      const wanted = { id, state: 'delivered', timeoutMs: settleMs } as const
      const status = await this.#node.call('waitFor', wanted)
      this.#statusChanged(status)
    }))
  }
}
