#!/usr/bin/env node
/**
 * The `openim` command. Runs from a checkout as `node cli/openim.ts ARGS` on Node 24 or newer.
 *
 * Nothing is imported before the compile cache is on (it saves a third of the start) and the
 * version of Node is known; everything else follows by `import()`.
 */
import module from 'node:module'

module.enableCompileCache?.()

const nodeMajorMin = 24
const nodeMajor = Number.parseInt(process.versions.node, 10)
if (nodeMajor < nodeMajorMin) {
  process.stderr.write(
    `openim: needs Node ${nodeMajorMin} or newer, this is ${process.versions.node}\n`
    + 'From a checkout, npm brings its own: npm ci, then npm run -s openim -- ARGS\n',
  )
  process.exit(2)
}

// Outside of any command, so there is nothing to tidy up; never a stack on the screen.
process.on('uncaughtException', (error) => {
  process.stderr.write(`openim: something went wrong that should not: ${error.message.split('\n', 1)[0]}\n`)
  process.stderr.write('Run it again with --verbose and report what it shows\n')
  if (process.argv.includes('--verbose')) process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})

// Whatever a command writes is for its owner alone.
process.umask(0o077)

// `openim inbox | head`: the reader has enough, which is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const interrupt = new AbortController()
let orderly = false
for (const [signal, exit] of [['SIGINT', 130], ['SIGTERM', 143]] as const) {
  process.on(signal, () => {
    // Most commands have nothing to tidy up; the others get one chance, and a second signal ends them.
    if (!orderly || interrupt.signal.aborted) process.exit(exit)
    interrupt.abort(signal)
  })
}

const { main } = await import('./main.ts')
const exit = await main({
  argv: process.argv.slice(2),
  env: process.env,
  streams: { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr },
  takeInterrupts() {
    orderly = true
    return interrupt.signal
  },
})
// A forgotten handle must not keep a command alive; what was written leaves first.
process.stdout.write('', () => process.exit(exit))
