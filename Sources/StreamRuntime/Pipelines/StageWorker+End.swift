// How a stage's worker ends: the end of its input, teardown, what it counted.
import LuaVM
import StreamCore

extension StageWorker {
    // MARK: The end of the input

    /// What each stage makes when its input has ended, in order: it goes through the stages behind.
    func finishLink(_ link: Int) {
        if failure != nil || stopped != nil || driver.isClosed || link == links.count { return teardown(0) }
        guard case .script(.reduce) = links[link].kind,
            group.emitsState(ofLink: link, received: driver.received(inLink: link) > 0)
        else { return flush(link) }
        guard pushEmit(stack, link) else {
            failed(worker.noMemory)
            return teardown(0)
        }
        if driver.isChain {
            driver.pushState(stack, link: link)
        } else if state != 0 {
            stack.push(reference: state)
        } else {
            stack.pushNil()
        }
        if stack.isNil(-1) {
            stack.pop(2)
            return flush(link)
        }
        let task = worker.start(
            from: stack, arguments: 1, context: group.context, origin: links[link].place, ports: ports,
            isPrincipal: true
        ) { [self] _, end in
            settle(end, "", link)
            flush(link)
        }
        if task == nil {
            failed(worker.noMemory)
            teardown(0)
        }
    }

    func flush(_ link: Int) {
        if failure != nil || stopped != nil || driver.isClosed { return teardown(0) }
        if reference("flush", link) == 0 { return finishLink(link + 1) }
        call("flush", link, ports: ports) { [self] in
            _ = pushEmit($0, link)
        } then: { [self] end in
            settle(end, "in flush: ", link)
            finishLink(link + 1)
        }
    }

    func settle(_ end: TaskEnd, _ phase: String, _ link: Int) {
        switch end {
        case .returned: stopped = stopped ?? ports.endReason
        case .failed(let failure):
            if worker.exceeded != nil || driver.isOverdue, let reason = group.context.reason {
                stopped = reason  // as in overLimit; a value that it was emitting is in hand
                return
            }
            if let limit = worker.exceeded {
                wasStopped = true
                group.limitUse.count(limit, ofLink: driver.faultyLink)
            } else if driver.isOverdue {
                wasStopped = true
                group.limitUse.count(.timeout, ofLink: driver.faultyLink)
                driver.giveUpValue()
            }
            failed(ScriptFailure(message: phase + failure.message, traceback: failure.traceback), link)
        case .stopped(let reason): stopped = reason
        }
    }

    // MARK: The end

    func teardown(_ link: Int) {
        guard link < begun else { return end() }
        guard prepareTeardown(link) else { return end() }
        let isSkipped = failure != nil && group.run.environment.planted == .teardownSkipped
        guard reference("teardown", link) != 0, !isSkipped else { return teardown(link + 1) }
        let reason =
            isReplaced && group.run.environment.planted == .replacedAsDone
            ? "done"
            : wasStopped && worker.exceeded == nil
                ? Reason.deadlineExceeded.description
                : wasStopped || failure != nil || isFailing ? "failed" : stopped?.description ?? "done"
        // It runs in a context of its own: it may wait a little although the pipeline was cancelled.
        let context = Context(scheduler: group.run.scheduler)
        if failure != nil || stopped != nil || wasStopped || isFailing {
            context.end(at: group.run.scheduler.now + Self.teardownLimit)
        }
        // One that computes on is told and stopped by then: see Worker's grace periods.
        let cleansUntil = group.run.scheduler.now + Self.teardownLimit + 2 * Run.grace
        call("teardown", link, context: context, cleansUntil: cleansUntil) {
            $0.push(reason)
        } then: { [self] end in
            if case .failed(let failure) = end {
                let failure = ScriptFailure(message: "in teardown: " + failure.message)
                group.run.log(group.describe(failure, of: links[link], value: nil))
            }
            context.cancel()
            teardown(link + 1)
        }
    }

    /// What cleans up is under no limit of a value's; where the state was stopped, it has a little more memory than that has.
    private func prepareTeardown(_ link: Int) -> Bool {
        guard worker.vm.over != nil else {
            worker.vm.limit(nil)
            return true
        }
        if worker.reprieve() { return true }
        for link in link..<begun where reference("teardown", link) != 0 {
            group.run.log(
                "stage \"\(links[link].name)\" (\(links[link].place)): teardown was not run: the worker's memory was more "
                    + "than four times its limit")
        }
        return false
    }

    func end() {
        guard isReplaced || worker.stop != nil, group.run.environment.planted != .endingsSkipped else {
            return leaveStage()
        }
        worker.finishEndings(within: Self.teardownLimit) { [self] in leaveStage() }
    }

    private func leaveStage() {
        if isReplaced { return replace() }
        if worker.hasTasks {
            let watch = RunawayWatch(worker)
            if group.context.add(watch) { runaways = watch } else { worker.dropRunawaysLater() }
        }
        // Tasks that the script started here go on. A process has handed its output to them: it stays open until they
        // have ended. Other stages have ended now, and only the worker lives on.
        if worker.hasTasks && !ports.isProcess {
            let totals = finish()
            worker.endWhenIdle { [self] in leave() }
            group.ended(totals)
        } else {
            worker.endWhenIdle { [self] in
                let totals = finish()
                leave()
                group.ended(totals)
            }
        }
    }

    func finish() -> StageTotals {
        ports.finish()
        var totals = StageTotals()
        totals.failed = Int(driver.failed) + lostInHand
        totals.deadLettered = ports.lettered
        totals.created = Int(driver.created)
        totals.consumed = Int(driver.consumed) - lostInHand  // a process has taken them
        totals.returned = ports.returned
        if seat.givesBack { totals.enter(ports.taken) }
        // With what an early end interrupted: its function had it, its failure was judged, or its result waited for room.
        totals.dropped = ports.droppedIn + ports.droppedOut + Int(driver.inHand)
        if isKey {
            totals.received = totals.failed + totals.deadLettered  // what it passed on is still in front of the stage
        } else {
            totals.received = Int(driver.received)
            totals.emitted = Int(driver.emitted)
            totals.filtered = Int(driver.filtered)
        }
        count(input: &totals)
        count(output: &totals)
        if ports.isProcess { countProcess(&totals) }
        return totals
    }

    private func count(input totals: inout StageTotals) {
        guard let input = seat.input, seat.ownsInput else {
            totals.taken = ports.taken
            return
        }
        let rest = input.closeReading()
        let left = rest.count
        var taken = ports.taken, put = 0
        totals.dropped += rest.dropValues()
        if let exposure = input.exposure {  // its function has the lane in hand
            taken += Int(input.account.received)
            put = exposure.count
            totals.consumed += taken
            totals.created += put
        }
        group.tell(of: input) {
            $0.taken += taken
            $0.put += put
            $0.left += left
        }
    }

    private func count(output totals: inout StageTotals) {
        if isKey || seat.ownsOutput {
            let put = ports.sent
            group.tell(of: seat.output) { $0.put += put }
            seat.output.close()
        } else {
            totals.put = ports.sent
        }
    }

    /// Its function has the channels itself. What it and its tasks do with a link of the pipeline is told at the end of
    /// the group; with a channel of the script's it is the worker that counts.
    private func countProcess(_ totals: inout StageTotals) {
        let taken = worker.taken + takenBefore, put = worker.put + putBefore
        totals.received += taken
        totals.consumed += taken
        if seat.givesBack { totals.enter(taken) }
        totals.emitted += put
        totals.created += put
        totals.put += put
    }

    func leave() {
        group.limitUse.ended(worker, driver, limits)
        if let runaways { group.context.remove(runaways) }
        runaways = nil
        ports.onFailure = nil  // it refers to this stage, which refers to the ports
        ports.onJudged = nil
        ports.onOverflow = nil
        wait = nil
        group.run.remove(worker)
    }
}
